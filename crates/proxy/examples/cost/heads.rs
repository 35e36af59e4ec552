//! What `wire` reads and writes for each request: the heads.

use gatehouse_core::message::{Known, Method, RequestHead, ResponseHead};
use gatehouse_wire::h1::{RequestLimits, encode, request, response};
use std::hint::black_box;

/// What a browser sends of its own accord.
pub const BROWSER: &[u8] = b"GET /assets/app/main.css?v=20 HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/account/orders\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Sec-Fetch-Dest: style\r\n\
    Sec-Fetch-Mode: no-cors\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=2\r\n\r\n";

const MINIMAL: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What an origin answers, without its body of [`ANSWER_BODY_BYTES`].
pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Date: Tue, 24 Nov 2026 10:00:00 GMT\r\n\
    Content-Type: text/css; charset=utf-8\r\n\
    Content-Length: 256\r\n\
    Cache-Control: public, max-age=3600\r\n\
    ETag: \"5f3c-20\"\r\n\
    Vary: Accept-Encoding\r\n\
    Connection: keep-alive\r\n\
    Server: origin\r\n\r\n";

/// What [`ANSWER`] says.
pub const ANSWER_BODY_BYTES: usize = 256;

/// A listener's defaults.
const LIMITS: RequestLimits =
    RequestLimits { head_bytes_max: 64 * 1024, fields_max: 128, target_bytes_max: 8 * 1024 };

/// Parses a head again and again into the same room.
pub fn parse(kind: &str, times: usize) -> Option<String> {
    let mut parsed = 0_usize;
    match kind {
        "browser" | "minimal" => {
            let text = if kind == "browser" { BROWSER } else { MINIMAL };
            let mut head = RequestHead::default();
            for _ in 0..times {
                let end = request::parse(black_box(text), &LIMITS, &mut head);
                parsed += usize::from(black_box(end) == Ok(Some(text.len())));
            }
        }
        "answer" => {
            let mut head = ResponseHead::default();
            for _ in 0..times {
                let end = response::parse(black_box(ANSWER), Method::Get, &mut head);
                parsed += usize::from(black_box(end) == Ok(Some(ANSWER.len())));
            }
        }
        _ => return None,
    }
    (parsed == times).then(|| format!("{parsed} parsed"))
}

/// Encodes a head again and again into the same room. It was edited before, once, as one is that
/// passes through: hop-by-hop fields dropped, others added.
pub fn encode(kind: &str, times: usize) -> Option<String> {
    match kind {
        "request" => {
            let mut head = RequestHead::default();
            request::parse(BROWSER, &LIMITS, &mut head).ok()?;
            head.fields.remove(Known::Connection);
            head.fields.append(b"X-Forwarded-For", b"192.0.2.1");
            head.fields.append(b"X-Forwarded-Proto", b"http");
            head.fields.append(b"X-Forwarded-Host", b"www.example.com");
            head.fields.append(b"Via", b"1.1 gatehouse");
            let target = b"/assets/app/main.css?v=20";
            Some(encoded(times, |out| encode::request(black_box(&head), b"", target, b"", out)))
        }
        "answer" => {
            let mut head = ResponseHead::default();
            response::parse(ANSWER, Method::Get, &mut head).ok()?;
            head.fields.remove(Known::Connection);
            head.fields.append(b"Via", b"1.1 gatehouse");
            Some(encoded(times, |out| encode::response(black_box(&head), out)))
        }
        _ => None,
    }
}

fn encoded(times: usize, encode: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    for _ in 0..times {
        out.clear();
        encode(&mut out);
        black_box(&out);
    }
    format!("{} bytes encoded {times} times", out.len())
}
