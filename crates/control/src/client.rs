//! A small HTTP/1.1 client for the control side, over `wire`: one request, one bounded answer, one
//! connection. Never on the data path.

use gatehouse_core::address::Address;
use gatehouse_core::message::{Method, ResponseHead};
use gatehouse_wire::h1::{AnswerError, Decoder, response};
use gatehouse_wire::pump::poll_write_all;
use gatehouse_wire::timer::{Timer, now};
use gatehouse_wire::tls::{ClientSide, ServerId, connect};
use gatehouse_wire::{Buffers, DialError, Inbox, Net, Stream};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// An answer, its body cut at the limit it was asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body, or the beginning of it.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Its name has no address.
    NoAddress,
    /// The connection could not be opened.
    Dial(DialError),
    /// The TLS handshake failed, in these words.
    Handshake(&'static str),
    /// It took too long, the connection included.
    TimedOut(Duration),
    /// It closed or broke before the answer's end.
    Closed,
    /// What came is no answer.
    Malformed(&'static str),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::NoAddress => f.write_str("its name does not resolve"),
            NoAnswer::Dial(why) => f.write_str(why.text()),
            NoAnswer::Handshake(why) => write!(f, "tls handshake: {why}"),
            NoAnswer::TimedOut(most) => write!(f, "no answer within {} ms", most.as_millis()),
            NoAnswer::Closed => f.write_str("closed before its answer ended"),
            NoAnswer::Malformed(why) => write!(f, "no HTTP answer: {why}"),
        }
    }
}

/// Where somebody is asked.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// On which network.
    pub net: &'a Net,
    /// Where.
    pub address: &'a Address,
    /// Who it has to be, where it is spoken to under TLS.
    pub name: Option<&'a str>,
    /// What is said before anything else, TLS included.
    pub first: &'a [u8],
    /// How it is spoken to then.
    pub side: Option<&'a ClientSide>,
}

impl Door<'_> {
    pub(crate) async fn open(&self) -> Result<Stream, NoAnswer> {
        let mut stream = self.net.dial(self.address).await.map_err(NoAnswer::Dial)?;
        say(&mut stream, self.first).await?;
        let Some(name) = self.name else { return Ok(stream) };
        let parts = self.side.zip(ServerId::new(name));
        let (side, server) = parts.ok_or(NoAnswer::Handshake("no credentials"))?;
        let connected = connect(stream, side, &server).await;
        connected.map_err(|error| NoAnswer::Handshake(error.text()))
    }
}

/// Says `text`.
pub(crate) async fn say(stream: &mut Stream, text: &[u8]) -> Result<(), NoAnswer> {
    let mut written = 0;
    let wrote = poll_fn(|cx| poll_write_all(cx, stream, text, &mut written)).await;
    wrote.map_err(|_| NoAnswer::Closed)
}

/// Opens a connection, its TLS handshake included, and closes it again.
///
/// # Errors
/// [`NoAnswer`].
pub async fn knock(door: &Door<'_>, most: Duration) -> Result<(), NoAnswer> {
    within(most, async { door.open().await.map(drop) }).await
}

/// Sends `request`, a whole GET that closes the connection, and reads up to `body_max` bytes of
/// the answer's body. Interim answers are passed over.
///
/// # Errors
/// [`NoAnswer`].
pub async fn fetch(
    door: &Door<'_>,
    request: &str,
    body_max: usize,
    most: Duration,
) -> Result<Answer, NoAnswer> {
    let (head, body) = exchange(door, request.as_bytes(), body_max, most).await?;
    Ok(Answer { status: head.status, body })
}

/// The same for any method but HEAD and CONNECT, a body included, with the answer's head.
///
/// # Errors
/// [`NoAnswer`].
pub async fn exchange(
    door: &Door<'_>,
    request: &[u8],
    body_max: usize,
    most: Duration,
) -> Result<(ResponseHead, Vec<u8>), NoAnswer> {
    within(most, async {
        let mut stream = door.open().await?;
        say(&mut stream, request).await?;
        let mut inbox = Inbox::new(Buffers::new());
        let head = read_head(&mut stream, &mut inbox).await?;
        let mut decoder = Decoder::new(head.body);
        let mut body = Vec::new();
        poll_fn(|cx| poll_body(cx, &mut stream, &mut inbox, &mut decoder, body_max, &mut body))
            .await?;
        Ok((head, body))
    })
    .await
}

/// Interim answers before the answer.
const INTERIM_MAX: usize = 8;

/// Reads the head of an answer. Interim ones are passed over.
pub(crate) async fn read_head(
    stream: &mut Stream,
    inbox: &mut Inbox,
) -> Result<ResponseHead, NoAnswer> {
    let mut head = ResponseHead::default();
    for _ in 0..=INTERIM_MAX {
        let mut scanned = 0;
        poll_fn(|cx| response::poll_read(cx, stream, inbox, Method::Get, &mut scanned, &mut head))
            .await
            .map_err(meaning)?;
        if head.status >= 200 {
            return Ok(head);
        }
        inbox.release_if_empty();
    }
    Err(NoAnswer::Malformed("too many interim answers"))
}

/// Reads on until the body ends, or holds `most` bytes.
fn poll_body(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    inbox: &mut Inbox,
    decoder: &mut Decoder,
    most: usize,
    body: &mut Vec<u8>,
) -> Poll<Result<(), NoAnswer>> {
    while body.len() < most {
        let ended = ready!(poll_piece(cx, stream, inbox, decoder, body))?;
        body.truncate(most);
        if ended == Ended::Yes {
            break;
        }
    }
    Poll::Ready(Ok(()))
}

/// Whether a body has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Yes,
    No,
}

/// Reads the next piece of a body, as much as comes at once; nothing is a piece only at the end.
pub(crate) fn poll_piece(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    inbox: &mut Inbox,
    decoder: &mut Decoder,
    body: &mut Vec<u8>,
) -> Poll<Result<Ended, NoAnswer>> {
    loop {
        let found = match decoder.decode(inbox.bytes_mut()) {
            Ok(found) => found,
            Err(error) => return Poll::Ready(Err(NoAnswer::Malformed(error.0))),
        };
        let any = !found.data.is_empty();
        body.extend_from_slice(&inbox.bytes()[found.data]);
        inbox.consume(found.consumed);
        match (found.done, any) {
            (true, _) => return Poll::Ready(Ok(Ended::Yes)),
            (false, true) => return Poll::Ready(Ok(Ended::No)),
            (false, false) => {}
        }
        match ready!(inbox.poll_fill(cx, stream)) {
            Ok(0) if decoder.ends_with_connection() => return Poll::Ready(Ok(Ended::Yes)),
            Ok(0) | Err(_) => return Poll::Ready(Err(NoAnswer::Closed)),
            Ok(_) => {}
        }
    }
}

pub(crate) fn meaning(error: AnswerError) -> NoAnswer {
    match error {
        AnswerError::Closed
        | AnswerError::Truncated
        | AnswerError::Reset { .. }
        | AnswerError::Unprocessed => NoAnswer::Closed,
        AnswerError::Malformed(why) | AnswerError::Ambiguous(why) => NoAnswer::Malformed(why),
        AnswerError::TooLarge => NoAnswer::Malformed("its head is too large"),
    }
}

/// What `work` comes to, within `most`.
pub(crate) async fn within<T>(
    most: Duration,
    work: impl Future<Output = Result<T, NoAnswer>>,
) -> Result<T, NoAnswer> {
    in_time(most, work).await.unwrap_or(Err(NoAnswer::TimedOut(most)))
}

/// The same, whatever that is; `None` where it takes longer.
pub(crate) async fn in_time<T>(most: Duration, work: impl Future<Output = T>) -> Option<T> {
    let until = now().after(most);
    let mut timer = Timer::default();
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.poll_until(cx, until).map(|()| None),
    })
    .await
}

/// Lets so much time pass.
pub(crate) async fn pause(period: Duration) {
    let until = now().after(period);
    let mut timer = Timer::default();
    poll_fn(|cx| timer.poll_until(cx, until)).await;
}
