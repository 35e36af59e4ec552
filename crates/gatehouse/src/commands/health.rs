//! `gatehouse health`: what the admin interface of a running gateway says of itself.

use super::{INPUT, USAGE, Usable, WORLD, complain, say, usable};
use crate::cli::HealthArgs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the whole of it may take.
const LIMIT: Duration = Duration::from_secs(3);

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Asks, prints the answer, and ends with 0 where it is good.
pub(crate) fn run(args: &HealthArgs) -> ExitCode {
    let address = match address(args) {
        Ok(address) => address,
        Err(code) => return code,
    };
    let answer = match ask(address, Instant::now() + LIMIT) {
        Ok(answer) => answer,
        Err(error) => return unanswered(address, &error.to_string()),
    };
    match Answer::read(&answer) {
        _ if answer.is_empty() => unanswered(address, "closed without an answer"),
        Some(Answer { status: 200, body }) => {
            say(&body);
            ExitCode::SUCCESS
        }
        Some(Answer { status, body }) => {
            complain(&format!("{status} {body}"));
            ExitCode::from(INPUT)
        }
        None => {
            complain(&format!("error: what answers at {address} is no gatehouse\n"));
            ExitCode::from(INPUT)
        }
    }
}

fn unanswered(address: SocketAddr, why: &str) -> ExitCode {
    complain(&format!("error: no answer from {address}: {why}\n"));
    ExitCode::from(WORLD)
}

/// Where to ask: as it was said, or as the configuration has it.
fn address(args: &HealthArgs) -> Result<SocketAddr, ExitCode> {
    if let Some(address) = args.admin {
        return Ok(address);
    }
    let Usable { lowered, .. } = usable(&args.file.config)?;
    match lowered.admin {
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

/// Everything that is answered until `end`.
fn ask(address: SocketAddr, end: Instant) -> io::Result<Vec<u8>> {
    let left = || match end.saturating_duration_since(Instant::now()) {
        Duration::ZERO => {
            let text = format!("nothing within {} s", LIMIT.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    let text = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
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

/// A status and a text.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    fn read(text: &[u8]) -> Option<Answer> {
        let text = String::from_utf8_lossy(text);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Answer { status, body: body.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_text() {
        let answer = Answer::read(b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nno\n");
        assert_eq!(answer, Some(Answer { status: 503, body: "no\n".to_owned() }));
        for text in ["", "SSH-2.0\r\n\r\n", "HTTP/1.1 2\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert_eq!(Answer::read(text.as_bytes()), None, "{text:?}");
        }
    }
}
