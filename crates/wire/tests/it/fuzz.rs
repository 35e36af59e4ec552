//! Heads and bodies of arbitrary bytes: nothing panics, what is accepted has one reading, and no
//! byte of one message becomes part of another.
//!
//! Runs for a second a target; `GATEHOUSE_FUZZ_SECONDS=600` runs longer, `GATEHOUSE_FUZZ_SEED`
//! repeats a run. The seed is in every message.

use crate::oracle;
use gatehouse_core::chance::Chance;
use gatehouse_core::message::{BodyLength, Known, Method, RequestHead, ResponseHead};
use gatehouse_wire::h1::{Decoder, RequestLimits, encode, request, response, salvage};
use std::time::{Duration, Instant};

pub const LIMITS: RequestLimits =
    RequestLimits { head_bytes_max: 4096, fields_max: 32, target_bytes_max: 512 };

/// Pieces that head and body grammars turn on: whole ones, and ones that bend a rule.
const PIECES: [&str; 64] = [
    "\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    ": ",
    " : ",
    ",",
    ";",
    "0",
    "5",
    "a",
    "GET",
    "POST",
    "HEAD",
    "OPTIONS",
    "CONNECT",
    "/",
    "*",
    "/a/../b",
    "http://",
    "a",
    "a:80",
    "@",
    "?q",
    "#f",
    "%2F",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/2.0",
    " HTTP/1.1\r\n",
    "Host: a\r\n",
    "Host: b\r\n",
    "host:",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding",
    "chunked",
    "identity",
    "Connection: ",
    "close",
    "keep-alive",
    "upgrade",
    "Upgrade: websocket\r\n",
    "Expect: 100-continue\r\n",
    "X: y\r\n",
    "X:\r\n",
    " folded\r\n",
    "\0",
    "\u{7f}",
    "\u{b}",
    "\u{e9}",
    "200",
    " OK",
    "101",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "hello",
    "ffffffffffffffff",
];

pub const REQUESTS: [&str; 5] = [
    "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n",
    "POST http://a:80/x HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello",
    "PUT /a/./b HTTP/1.1\r\nHost: A.b.\r\nTransfer-Encoding: chunked\r\n\r\n\
     5\r\nhello\r\n0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
];

pub const ANSWERS: [&str; 4] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: x\r\n\r\nhello",
    "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nX: y\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
];

const BODIES: [&str; 4] = [
    "5\r\nhello\r\n0\r\n\r\n",
    "1;x=y\r\na\r\n0000A\r\n0123456789\r\n0\r\n\r\nGET /next",
    "0\r\n\r\n",
    "2\r\n\r\n\r\n3\r\n0\r\n\r\n0\r\n\r\n",
];

/// Runs `trial` with one seed after another until the time is up.
pub fn fuzz(name: &str, mut trial: impl FnMut(&mut Chance)) {
    let number = |key: &str| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let wait = Duration::from_secs(number("GATEHOUSE_FUZZ_SECONDS").unwrap_or(1));
    let clock = Instant::now();
    let first = number("GATEHOUSE_FUZZ_SEED").unwrap_or(1);
    let mut seed = first;
    while seed == first || clock.elapsed() < wait {
        for _ in 0..256 {
            let trial = std::panic::AssertUnwindSafe(|| trial(&mut Chance::seeded(seed)));
            if let Err(cause) = std::panic::catch_unwind(trial) {
                eprintln!("repeat with GATEHOUSE_FUZZ_SEED={seed} ({name})");
                std::panic::resume_unwind(cause);
            }
            seed += 1;
        }
    }
    eprintln!("{name}: {} trials", seed - first);
}

/// A text near a right one, or made of pieces alone.
pub fn bend(chance: &mut Chance, right: &[&str]) -> Vec<u8> {
    let pick = |chance: &mut Chance, count: usize| chance.below(count as u32) as usize;
    let mut text = Vec::new();
    if chance.below(8) == 0 {
        for _ in 0..chance.below(24) {
            text.extend_from_slice(PIECES[pick(chance, PIECES.len())].as_bytes());
        }
        return text;
    }
    text.extend_from_slice(right[pick(chance, right.len())].as_bytes());
    for _ in 0..chance.below(4) {
        let at = pick(chance, text.len() + 1);
        match chance.below(5) {
            0 if at < text.len() => text[at] = chance.next_u64() as u8,
            1 if at < text.len() => drop(text.remove(at)),
            2 => {
                let end = (at + 1 + pick(chance, 12)).min(text.len());
                let copy = text[at..end].to_vec();
                text.splice(at..at, copy);
            }
            _ => {
                let piece = PIECES[pick(chance, PIECES.len())].bytes();
                text.splice(at..at, piece);
            }
        }
    }
    text
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn a_request_head_that_is_accepted_reads_the_same_when_it_is_written_again() {
    let (mut head, mut again) = (RequestHead::default(), RequestHead::default());
    let (mut out, mut accepted) = (Vec::new(), 0_u64);
    fuzz("request heads", |chance| {
        let text = bend(chance, &REQUESTS);
        let Ok(Some(end)) = request::parse(&text, &LIMITS, &mut head) else {
            salvage(&text, &mut head);
            for span in [head.method_text, head.raw_path, head.authority] {
                let part = head.text(span);
                assert!(part.is_empty() || text.windows(part.len()).any(|seen| seen == part));
            }
            return;
        };
        accepted += 1;
        assert!(text[..end].ends_with(b"\r\n\r\n"), "the head is not its own end");
        assert_eq!(lines(&text[..end]), head.fields.len() + 2, "a line is missing or made up");
        assert!(!text[..end - 2].windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r'));
        let path = head.text(head.raw_path);
        let mut target = path.to_vec();
        if let Some(query) = head.query {
            target.push(b'?');
            target.extend_from_slice(head.text(query));
        }
        out.clear();
        encode::request(&head, b"", &target, b"a", &mut out);
        let end_again = request::parse(&out, &LIMITS, &mut again);
        if !head.fields.has(Known::Host) {
            // HTTP/1.0 is written as 1.1, which has to name a host: the gateway adds one.
            return;
        }
        assert_eq!(end_again, Ok(Some(out.len())), "{:?}", String::from_utf8_lossy(&out));
        assert_eq!(head.text(head.method_text), again.text(again.method_text));
        assert_eq!(head.text(head.raw_path), again.text(again.raw_path));
        assert_eq!(head.query.map(|query| head.text(query)), again.query.map(|q| again.text(q)));
        assert_eq!(head.body, again.body);
        assert!(head.fields.iter().eq(again.fields.iter()), "fields changed");
        assert_eq!(head.text(head.host), again.text(again.host), "the host changed");
    });
    assert!(accepted > 100, "{accepted} heads were accepted: the fuzzer proves nothing");
}

#[test]
fn an_answers_head_that_is_accepted_reads_the_same_when_it_is_written_again() {
    let (mut head, mut again) = (ResponseHead::default(), ResponseHead::default());
    let (mut out, mut accepted) = (Vec::new(), 0_u64);
    fuzz("answer heads", |chance| {
        let asked = if chance.below(4) == 0 { Method::Head } else { Method::Get };
        let text = bend(chance, &ANSWERS);
        let Ok(Some(end)) = response::parse(&text, asked, &mut head) else { return };
        accepted += 1;
        assert!(text[..end].ends_with(b"\r\n\r\n"), "the head is not its own end");
        assert_eq!(lines(&text[..end]), head.fields.len() + 2, "a line is missing or made up");
        assert!((100..=999).contains(&head.status));
        out.clear();
        encode::response(&head, &mut out);
        let end_again = response::parse(&out, asked, &mut again);
        assert_eq!(end_again, Ok(Some(out.len())), "{:?}", String::from_utf8_lossy(&out));
        assert_eq!((head.status, head.body), (again.status, again.body));
        assert_eq!(
            head.reason.of(head.fields.bytes()),
            again.reason.of(again.fields.bytes()),
            "the reason changed"
        );
        assert!(head.fields.iter().eq(again.fields.iter()), "fields changed");
    });
    assert!(accepted > 100, "{accepted} heads were accepted: the fuzzer proves nothing");
}

/// What the decoder makes of `text` in pieces: payload, where it ended, whether it was broken.
fn decode(text: &[u8], chance: &mut Chance) -> (Vec<u8>, Option<usize>, bool) {
    let mut decoder = Decoder::new(BodyLength::Chunked);
    let (mut payload, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let count = (1 + chance.below(24) as usize).min(text.len() - at);
        let mut piece = text[at..at + count].to_vec();
        match decoder.decode(&mut piece) {
            Err(_) => return (payload, None, true),
            Ok(decoded) => {
                payload.extend_from_slice(&piece[decoded.data]);
                at += decoded.consumed;
                if decoded.done {
                    return (payload, Some(at), false);
                }
                assert_eq!(decoded.consumed, count, "a byte was neither taken nor refused");
            }
        }
    }
    (payload, None, false)
}

#[test]
fn a_chunked_body_is_read_as_a_simple_reader_reads_it_however_it_comes() {
    let mut whole = 0_u64;
    fuzz("chunked bodies", |chance| {
        let text = bend(chance, &BODIES);
        let (payload, end, broken) = decode(&text, chance);
        let (payload_again, end_again, broken_again) = decode(&text, chance);
        assert_eq!((end, broken), (end_again, broken_again), "the split changed the reading");
        if end.is_some() {
            assert_eq!(payload, payload_again);
        }
        match oracle::chunked(&text) {
            oracle::Read::Whole(expected, at) => {
                whole += 1;
                assert_eq!((payload, end), (expected, Some(at)), "{text:?}");
            }
            oracle::Read::Broken => assert_eq!(end, None, "{text:?} was taken for whole"),
            // A trailer section may follow, which this reader does not know.
            oracle::Read::Begun => {}
        }
    });
    assert!(whole > 100, "{whole} bodies were whole: the fuzzer proves nothing");
}

#[test]
fn a_head_that_comes_in_pieces_is_the_head_that_came_at_once() {
    let (mut head, mut again) = (RequestHead::default(), RequestHead::default());
    fuzz("split heads", |chance| {
        let text = bend(chance, &REQUESTS);
        let at_once = request::parse(&text, &LIMITS, &mut head);
        for end in 0..=text.len() {
            match request::parse(&text[..end], &LIMITS, &mut again) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    assert_eq!(at_once, Ok(Some(found)), "more bytes changed the head");
                    assert!(head.fields.iter().eq(again.fields.iter()));
                    assert_eq!(head.body, again.body);
                    break;
                }
                Err(_) => {
                    assert!(at_once.is_err(), "a head was refused before it was whole");
                    break;
                }
            }
        }
    });
}
