//! One connection to one server: frames, requests in flight, pings, and what comes unasked.

use super::jute::{Malformed, Reader, Writer};
use super::message::{
    self, AUTH_XID, CLOSE, Code, Credentials, EVENT_XID, Granted, Happened, Head, PING, PING_XID,
};
use super::trouble::Trouble;
use gatehouse_core::moment::Moment;
use gatehouse_wire::Stream;
use gatehouse_wire::timer::{Timer, now};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Bytes one message may have: a list of 100,000 names of usual length.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// Requests that wait for their answers at once.
const FLYING_MAX: usize = 256;

/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

/// Reads before others have their turn.
const READS_MAX: usize = 64;

/// Where the answer to one request is put.
#[derive(Debug, Default)]
pub(super) struct Slot {
    answer: RefCell<Option<Result<Vec<u8>, Refusal>>>,
    waker: RefCell<Option<Waker>>,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    Code(Code),
    /// The connection is lost.
    Lost(Trouble),
}

impl Slot {
    pub fn put(&self, answer: Result<Vec<u8>, Refusal>) {
        self.answer.replace(Some(answer));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Vec<u8>, Refusal>> {
        match self.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                self.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Call {
    pub op: i32,
    pub body: Vec<u8>,
    pub slot: Rc<Slot>,
}

/// What a link is served for.
pub(super) trait Desk {
    /// The next request; `None` where there is none just now.
    fn next_call(&self) -> Option<Call>;
    /// Something has happened to a node that was watched.
    fn tell(&self, happened: Happened, path: &str);
    /// Whether the session is to be closed.
    fn wants_end(&self) -> bool;
    /// Who is to be woken when that has changed, or there is a request.
    fn wakes(&self, waker: &Waker);
}

/// A connection whose session is granted.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    flying: VecDeque<(i32, Rc<Slot>)>,
    xid: i32,
    /// How long the session outlives silence.
    timeout: Duration,
    heard: Moment,
    said: Moment,
    ending: bool,
}

impl Link {
    /// One over a stream on which nothing was said yet.
    pub fn new(stream: Stream, timeout: Duration) -> Link {
        let now = now();
        Link {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            flying: VecDeque::new(),
            xid: 0,
            timeout,
            heard: now,
            said: now,
            ending: false,
        }
    }

    /// Asks for a session.
    pub async fn open(&mut self, credentials: &Credentials) -> Result<Granted, String> {
        let timeout_ms = i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX);
        self.say(message::connect(credentials, timeout_ms));
        let granted = message::granted(Reader(&self.hear().await?)).map_err(malformed)?;
        if let Ok(millis @ 1..) = u64::try_from(granted.timeout_ms) {
            self.timeout = Duration::from_millis(millis);
        }
        Ok(granted)
    }

    /// Asks for something before the link is served. Events do not come yet: nothing is watched.
    pub async fn ask(&mut self, op: i32, body: Writer) -> Result<Vec<u8>, (Code, String)> {
        let xid = if op == message::AUTH { AUTH_XID } else { self.next_xid() };
        self.say(Writer::default().int(xid).int(op).record(body));
        let lost = |why| (Code(0), why);
        let frame = self.hear().await.map_err(lost)?;
        let mut reader = Reader(&frame);
        let head = message::head(&mut reader).map_err(|error| lost(malformed(error)))?;
        match head {
            Head { xid: other, .. } if other != xid => Err(lost(malformed(Malformed))),
            Head { code: Code(0), .. } => Ok(reader.0.to_vec()),
            Head { code, .. } => Err((code, code.to_string())),
        }
    }

    /// Carries requests and events until the connection ends. Says why it did; `None` where the
    /// session was closed, as it was told.
    pub async fn serve(
        &mut self,
        desk: &impl Desk,
        credentials: &mut Credentials,
    ) -> Option<String> {
        let mut timer = Timer::default();
        poll_fn(|cx| self.poll(cx, desk, credentials, &mut timer)).await
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        desk: &impl Desk,
        credentials: &mut Credentials,
        timer: &mut Timer,
    ) -> Poll<Option<String>> {
        desk.wakes(cx.waker());
        self.take_calls(desk);
        if let Err(why) = self.read_all(cx, desk, credentials) {
            let ended = self.ending;
            return Poll::Ready(if ended { None } else { Some(why) });
        }
        // What was answered may have made room.
        self.take_calls(desk);
        loop {
            let now = now();
            let silent = self.heard.after(self.timeout * 2 / 3);
            if now >= silent {
                let millis = now.since(self.heard).as_millis();
                return Poll::Ready(Some(format!("silent for {millis} ms")));
            }
            let ping = self.said.after(self.timeout / 3);
            if now >= ping {
                self.say(Writer::default().int(PING_XID).int(PING));
            }
            if let Poll::Ready(Err(why)) = self.poll_write(cx) {
                return Poll::Ready(Some(why));
            }
            let next = self.said.after(self.timeout / 3).min(silent);
            if timer.poll_until(cx, next).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn take_calls(&mut self, desk: &impl Desk) {
        while self.flying.len() < FLYING_MAX
            && let Some(call) = desk.next_call()
        {
            let xid = self.next_xid();
            let head = Writer::default().int(xid).int(call.op);
            self.say(head.record(Writer(call.body)));
            self.flying.push_back((xid, call.slot));
        }
        if desk.wants_end() && self.flying.is_empty() && !self.ending {
            self.ending = true;
            let xid = self.next_xid();
            self.say(Writer::default().int(xid).int(CLOSE));
        }
    }

    /// Takes in everything that is there.
    fn read_all(
        &mut self,
        cx: &mut Context<'_>,
        desk: &impl Desk,
        credentials: &mut Credentials,
    ) -> Result<(), String> {
        for _ in 0..READS_MAX {
            if self.poll_read(cx)?.is_pending() {
                return Ok(());
            }
            while let Some(frame) = self.next_frame()? {
                self.take(&frame, desk, credentials).map_err(malformed)?;
            }
        }
        // There may be more: at once, but after the others.
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn take(
        &mut self,
        frame: &[u8],
        desk: &impl Desk,
        credentials: &mut Credentials,
    ) -> Result<(), Malformed> {
        let mut reader = Reader(frame);
        let Head { xid, seen, code } = message::head(&mut reader)?;
        credentials.seen = credentials.seen.max(seen);
        match xid {
            EVENT_XID => {
                if let Some((happened, path)) = message::event(&mut reader)? {
                    desk.tell(happened, path);
                }
            }
            PING_XID | AUTH_XID => {}
            // The answer to the end; the connection ends too.
            _ if self.ending && self.flying.is_empty() => {}
            _ => {
                let (expected, slot) = self.flying.pop_front().ok_or(Malformed)?;
                if expected != xid {
                    return Err(Malformed);
                }
                slot.put(match code {
                    Code(0) => Ok(reader.0.to_vec()),
                    code => Err(Refusal::Code(code)),
                });
            }
        }
        Ok(())
    }

    fn next_xid(&mut self) -> i32 {
        self.xid = if self.xid == i32::MAX { 1 } else { self.xid + 1 };
        self.xid
    }

    fn say(&mut self, message: Writer) {
        self.output.extend(Writer::default().bytes(&message.0).0);
        self.said = now();
    }

    /// Writes everything, then waits for a whole message.
    async fn hear(&mut self) -> Result<Vec<u8>, String> {
        poll_fn(|cx| {
            if let Poll::Ready(Err(why)) = self.poll_write(cx) {
                return Poll::Ready(Err(why));
            }
            loop {
                match self.next_frame() {
                    Ok(Some(frame)) => return Poll::Ready(Ok(frame)),
                    Ok(None) => {}
                    Err(why) => return Poll::Ready(Err(why)),
                }
                match self.poll_read(cx) {
                    Ok(Poll::Ready(())) => {}
                    Ok(Poll::Pending) => return Poll::Pending,
                    Err(why) => return Poll::Ready(Err(why)),
                }
            }
        })
        .await
    }

    /// Takes a whole message out of what was read.
    fn next_frame(&mut self) -> Result<Option<Vec<u8>>, String> {
        let Some((count, rest)) = self.input.split_first_chunk::<4>() else { return Ok(None) };
        let count = usize::try_from(i32::from_be_bytes(*count)).unwrap_or(usize::MAX);
        if count > FRAME_BYTES_MAX {
            return Err(malformed(Malformed));
        }
        let Some(frame) = rest.get(..count) else { return Ok(None) };
        let frame = frame.to_vec();
        self.input.drain(..4 + count);
        Ok(Some(frame))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, String> {
        let mut room = [0; READ_BYTES];
        match self.stream.poll_read(cx, &mut room) {
            Poll::Ready(Ok(0)) => Err("it closed the connection".to_owned()),
            Poll::Ready(Ok(count)) => {
                self.input.extend_from_slice(&room[..count]);
                self.heard = now();
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Err(error)) => Err(lost(&error)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        while self.written < self.output.len() {
            let slices = [IoSlice::new(&self.output[self.written..])];
            match self.stream.poll_write_vectored(cx, &slices) {
                Poll::Ready(Ok(count @ 1..)) => self.written += count,
                Poll::Ready(Ok(_)) => return Poll::Ready(Err("it takes no more".to_owned())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(lost(&error))),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.output.clear();
        self.written = 0;
        self.stream.poll_flush(cx).map_err(|error| lost(&error))
    }
}

/// Whoever waits for an answer learns that there will be none.
impl Link {
    pub fn give_up(&mut self, why: &Trouble) {
        for (_, slot) in self.flying.drain(..) {
            slot.put(Err(Refusal::Lost(why.clone())));
        }
    }
}

fn malformed(_: Malformed) -> String {
    "what it says is not ZooKeeper's protocol".to_owned()
}

fn lost(error: &std::io::Error) -> String {
    format!("the connection broke: {}", error.to_string().to_lowercase())
}
