//! Asks servers one question: by datagrams, over TCP where an answer does not fit. What is no
//! answer to it is passed over, and waited for only so long.

use super::message::{DATAGRAM_BYTES_MAX, Kind, Nobody, Record, Said, answer, question};
use super::places;
use super::system::{Over, Settings};
use aws_lc_rs::rand;
use gatehouse_core::address::Address;
use gatehouse_wire::datagram::Datagram;
use gatehouse_wire::pump::poll_write_all;
use gatehouse_wire::timer::{Timer, now};
use gatehouse_wire::{Net, Stream};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Datagrams that are no answer, of which one more ends the wait: somebody guesses.
const PASSED_OVER_MAX: u32 = 100;

/// How often an answer may send on to another name.
const ALIASES_MAX: u32 = 8;

/// What there is of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Records { records: Vec<Record>, ttl: Duration },
    Nothing { nobody: Nobody, ttl: Option<Duration> },
}

/// Asks for the records of a name, and where that is an alias, of what it stands for.
pub(super) async fn ask(settings: &Settings, name: &str, kind: Kind) -> Result<Answer, String> {
    let (mut name, mut least) = (name.to_owned(), Duration::MAX);
    for _ in 0..ALIASES_MAX {
        match ask_servers(settings, &name, kind).await? {
            Said::Records { records, ttl } => {
                return Ok(Answer::Records { records, ttl: ttl.min(least) });
            }
            Said::Nothing { nobody, ttl } => return Ok(Answer::Nothing { nobody, ttl }),
            Said::Alias { target, ttl } => (name, least) = (target, ttl.min(least)),
            Said::Truncated | Said::Refused(_) => break,
        }
    }
    Err(format!("{name}: aliases lead round, or too far"))
}

/// Asks one server after the other, and each again with more time.
async fn ask_servers(settings: &Settings, name: &str, kind: Kind) -> Result<Said, String> {
    let mut last = "there is no server to ask".to_owned();
    for attempt in 0..settings.attempts {
        let timeout = settings.timeout.saturating_mul(1 << attempt.min(8));
        for server in &settings.servers {
            match ask_one(*server, settings.over, name, kind, timeout).await {
                Ok(Said::Refused(code)) => last = format!("{server} answers {}", refusal(code)),
                Ok(said) => return Ok(said),
                Err(why) => last = format!("{server}: {why}"),
            }
        }
    }
    Err(last)
}

async fn ask_one(
    server: SocketAddr,
    over: Over,
    name: &str,
    kind: Kind,
    timeout: Duration,
) -> Result<Said, String> {
    let _place = places::take().await;
    let mut id = [0; 2];
    rand::fill(&mut id).map_err(|_| "no random number for a question".to_owned())?;
    let id = u16::from_be_bytes(id);
    let bytes = question(id, name, kind).ok_or_else(|| format!("{name:?} cannot be a name"))?;
    let by_datagram = async {
        match over {
            Over::Tcp => Ok(Said::Truncated),
            Over::Udp => ask_by_datagram(server, &bytes, (id, name, kind)).await,
        }
    };
    let said = within(timeout, by_datagram).await?;
    if said != Said::Truncated {
        return Ok(said);
    }
    within(timeout, ask_over_tcp(server, &bytes, (id, name, kind))).await
}

/// What tells an answer from others.
type Asked<'a> = (u16, &'a str, Kind);

async fn ask_by_datagram(
    server: SocketAddr,
    bytes: &[u8],
    (id, name, kind): Asked<'_>,
) -> Result<Said, String> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    };
    let mut socket = Datagram::to(server).map_err(failed)?;
    socket.send(bytes).map_err(failed)?;
    let mut room = [0; DATAGRAM_BYTES_MAX + 1];
    for _ in 0..PASSED_OVER_MAX {
        let count = poll_fn(|cx| socket.poll_receive(cx, &mut room)).await.map_err(failed)?;
        // Nobody was told that more would be taken.
        let fits = Some(&room[..count]).filter(|_| count <= DATAGRAM_BYTES_MAX);
        if let Some(said) = fits.and_then(|bytes| answer(bytes, id, name, kind)) {
            return Ok(said);
        }
    }
    Err(format!("{PASSED_OVER_MAX} datagrams that are no answer"))
}

async fn ask_over_tcp(
    server: SocketAddr,
    bytes: &[u8],
    (id, name, kind): Asked<'_>,
) -> Result<Said, String> {
    let dialled = Net::System.dial(&Address::Ip(server)).await;
    let mut stream = dialled.map_err(|error| format!("{} over TCP", error.text()))?;
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
    let framed = [&length[..], bytes].concat();
    let mut written = 0;
    let closed = || "it closes the connection".to_owned();
    poll_fn(|cx| poll_write_all(cx, &mut stream, &framed, &mut written))
        .await
        .map_err(|_| closed())?;
    let mut length = [0; 2];
    read_exactly(&mut stream, &mut length).await.ok_or_else(closed)?;
    let mut room = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exactly(&mut stream, &mut room).await.ok_or_else(closed)?;
    match answer(&room, id, name, kind) {
        Some(Said::Truncated) | None => Err("its answer over TCP is none".to_owned()),
        Some(said) => Ok(said),
    }
}

async fn read_exactly(stream: &mut Stream, room: &mut [u8]) -> Option<()> {
    let mut read = 0;
    while read < room.len() {
        let count = poll_fn(|cx| stream.poll_read(cx, &mut room[read..])).await;
        read += count.ok().filter(|count| *count > 0)?;
    }
    Some(())
}

/// What `work` comes to, within `most`.
async fn within<T>(
    most: Duration,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let until = now().after(most);
    let mut timer = Timer::default();
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(done),
        Poll::Pending => timer
            .poll_until(cx, until)
            .map(|()| Err(format!("no answer within {} ms", most.as_millis()))),
    })
    .await
}

/// The names of the codes that servers refuse with (RFC 1035 section 4.1.1).
fn refusal(code: u8) -> String {
    match code {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        code => format!("with code {code}"),
    }
}
