//! The same small client over HTTP/2: one request, one bounded answer, one connection.

use super::client::{Answer, Door, NoAnswer, within};
use gatehouse_core::message::{Method, RequestHead, ResponseHead};
use gatehouse_wire::h2::{Ask, H2Stream, Last, Session, SessionDriver};
use gatehouse_wire::{Buffers, Stream};
use std::future::poll_fn;
use std::io::IoSlice;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method.
    pub method: Method,
    /// The path and query.
    pub path: &'a str,
    /// Whom it is for: the host, and a port where it has one.
    pub authority: &'a str,
    /// Further fields.
    pub fields: &'a [(&'a str, &'a str)],
    /// The body; empty is none.
    pub body: &'a [u8],
}

/// Asks, and reads up to `body_max` bytes of the answer's body. What it says of a gRPC status is
/// in the second part, in the head or behind the body.
///
/// # Errors
/// [`NoAnswer`].
pub async fn ask(
    door: &Door<'_>,
    question: &Question<'_>,
    body_max: usize,
    most: Duration,
) -> Result<(Answer, Option<String>), NoAnswer> {
    within(most, async {
        let stream = door.open().await?;
        let session = Session::start(stream, &Buffers::new()).await;
        let (session, mut driver) = session.ok_or(NoAnswer::Closed)?;
        let mut stream = session.lease().ok_or(NoAnswer::Closed)?;
        let Stream::H2(stream) = &mut stream else { return Err(NoAnswer::Closed) };
        send(door, question, stream)?;
        let mut asking = Asking { body: question.body, written: 0, method: question.method };
        let head = poll_fn(|cx| {
            // Once it has ended, the stream tells.
            let _ = driver.poll(cx);
            asking.poll(cx, stream)
        })
        .await?;
        read(stream, &mut driver, &head, body_max).await
    })
    .await
}

fn send(door: &Door<'_>, question: &Question<'_>, stream: &mut H2Stream) -> Result<(), NoAnswer> {
    let mut head = RequestHead::default();
    head.method_text = head.fields.note(question.method.text().as_bytes());
    for (name, value) in question.fields {
        head.fields.append(name.as_bytes(), value.as_bytes());
    }
    let ask = Ask {
        head: &head,
        scheme: if door.name.is_some() { "https" } else { "http" },
        authority: question.authority.as_bytes(),
        base: b"",
        target: question.path.as_bytes(),
        trailers: true,
    };
    let last = if question.body.is_empty() { Last::Yes } else { Last::No };
    stream.send_request(&ask, last).map_err(|_| NoAnswer::Closed)
}

/// A question on its way.
struct Asking<'a> {
    body: &'a [u8],
    written: usize,
    method: Method,
}

impl Asking<'_> {
    /// Ready with the head of the final answer.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut H2Stream,
    ) -> Poll<Result<ResponseHead, NoAnswer>> {
        while self.written < self.body.len() {
            let rest = [IoSlice::new(&self.body[self.written..])];
            match stream.poll_write(cx, &rest, Last::Yes) {
                Poll::Ready(Ok(count)) => self.written += count,
                // The answer may say why.
                Poll::Ready(Err(_)) => self.written = self.body.len(),
                Poll::Pending => break,
            }
        }
        let mut head = ResponseHead::default();
        loop {
            let polled = ready!(stream.poll_answer(cx, self.method, &mut head));
            polled.map_err(super::client::meaning)?;
            if head.status >= 200 {
                return Poll::Ready(Ok(head));
            }
        }
    }
}

/// Reads the body, as far as it is wanted, and what follows it.
async fn read(
    stream: &mut H2Stream,
    driver: &mut SessionDriver,
    head: &ResponseHead,
    body_max: usize,
) -> Result<(Answer, Option<String>), NoAnswer> {
    let mut body = Vec::new();
    let mut room = [0; 4096];
    while !head.body.is_none() {
        let count = poll_fn(|cx| {
            let _ = driver.poll(cx);
            stream.poll_read(cx, &mut room)
        })
        .await
        .map_err(|_| NoAnswer::Closed)?;
        body.extend_from_slice(&room[..count]);
        if count == 0 || body.len() >= body_max.max(1) {
            break;
        }
    }
    body.truncate(body_max);
    let trailers = stream.take_trailers();
    let behind = trailers.as_ref().and_then(|trailers| trailers.named_first(b"grpc-status"));
    let status = behind.or_else(|| head.fields.named_first(b"grpc-status"));
    let status = status.map(|status| String::from_utf8_lossy(status).into_owned());
    Ok((Answer { status: head.status, body }, status))
}
