//! Asks the admin interface of a running gateway: one request, one answer, within a limit.

use super::{INPUT, USAGE, WORLD, complain, exit_code, load, paint};
use crate::cli::AdminArgs;
use gatehouse_control::admin::SERVER;
use gatehouse_control::config::render;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A status and a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub body: String,
}

/// What to ask: `GET /healthz`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub method: &'a str,
    pub target: &'a str,
    /// Fields beside `Host`, each ended by CRLF.
    pub fields: &'a str,
    /// How long the whole of it may take.
    pub limit: Duration,
}

/// Where to ask: as it was said, or as the configuration has it.
///
/// # Errors
/// The exit code, where that is not known; why is printed.
pub(super) fn address(args: &AdminArgs) -> Result<SocketAddr, ExitCode> {
    if let Some(address) = args.admin {
        return Ok(address);
    }
    let loaded = load(&args.file.config);
    if loaded.lowered.is_none() && loaded.admin.is_none() {
        complain(&render(&loaded, paint()));
        complain("hint: the file says where to ask; --admin ADDRESS asks without it\n");
        return Err(exit_code(&loaded));
    }
    // What else is wrong with the file is the gateway's to say, where it matters.
    match loaded.admin {
        Some(address) if address.port() != 0 => Ok(address),
        Some(_) => {
            complain("error: admin.bind has port 0, any free one; name it with --admin\n");
            Err(ExitCode::from(USAGE))
        }
        None => {
            complain(&format!(
                "error: {} has no admin interface\n  hint: write [admin] with bind = \
                 \"127.0.0.1:9900\", and restart\n",
                args.file.config.display()
            ));
            Err(ExitCode::from(INPUT))
        }
    }
}

/// Asks.
///
/// # Errors
/// The exit code, where there is no answer; why is printed.
pub(super) fn ask(address: SocketAddr, question: Question<'_>) -> Result<Answer, ExitCode> {
    let bytes = match exchange(address, question) {
        Ok(bytes) if bytes.is_empty() => {
            return Err(unanswered(address, "closed without an answer"));
        }
        Ok(bytes) => bytes,
        Err(error) => return Err(unanswered(address, &error.to_string())),
    };
    Answer::read(&bytes).ok_or_else(|| {
        complain(&format!(
            "error: what answers at {address} is no admin interface of a gatehouse\n"
        ));
        ExitCode::from(INPUT)
    })
}

fn unanswered(address: SocketAddr, why: &str) -> ExitCode {
    complain(&format!("error: no answer from {address}: {why}\n"));
    ExitCode::from(WORLD)
}

/// Everything that is answered within the limit.
fn exchange(address: SocketAddr, question: Question<'_>) -> io::Result<Vec<u8>> {
    let Question { method, target, fields, limit } = question;
    let end = Instant::now() + limit;
    let left = || match end.saturating_duration_since(Instant::now()) {
        Duration::ZERO => {
            let text = format!("nothing within {} s", limit.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    let text = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\n{fields}Connection: close\r\n\r\n"
    );
    stream.write_all(text.as_bytes())?;
    let mut answer = Vec::new();
    let mut room = [0; 4096];
    while (answer.len() as u64) < ANSWER_BYTES_MAX {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut room) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&room[..count]),
            // Looks at the clock, which has run out.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// A value in a query.
pub(super) fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                out.push(char::from(byte));
            }
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

impl Answer {
    fn read(text: &[u8]) -> Option<Answer> {
        let text = String::from_utf8_lossy(text);
        let (head, body) = text.split_once("\r\n\r\n")?;
        head.lines().find(|line| line.strip_prefix("Server: ") == Some(SERVER))?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Answer { status, body: body.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_text() {
        let text = format!("HTTP/1.1 503 Service Unavailable\r\nServer: {SERVER}\r\n\r\nno\n");
        let answer = Answer::read(text.as_bytes());
        assert_eq!(answer, Some(Answer { status: 503, body: "no\n".to_owned() }));
        let server = format!("Server: {SERVER}\r\n\r\n");
        for line in ["", "SSH-2.0", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nServer: other\r\n\r\n"] {
            assert_eq!(Answer::read(format!("{line}\r\n{server}").as_bytes()), None, "{line}");
        }
        assert_eq!(Answer::read(format!("HTTP/1.1 200 OK\r\nServer: {SERVER}").as_bytes()), None);
    }

    #[test]
    fn a_value_is_encoded_so_that_it_cannot_end_its_query() {
        assert_eq!(encoded("http://[::1]:80/a b&c=%"), "http://%5B::1%5D:80/a%20b%26c%3D%25");
    }
}
