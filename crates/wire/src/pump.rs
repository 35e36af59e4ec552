//! Carries one message's body, its head in front of it, from one connection to another: bounded
//! by the buffers of the two sides, pushed back by whichever is slower, never collected.

use crate::buffer::Inbox;
use crate::grpc_web::{self, Web};
use crate::h1::Decoder;
use crate::h1::encode::{self, Framing};
use crate::h2::{H2Stream, Last};
use crate::socket::Stream;
use crate::splice::{Pipe, Pipes, UNHINDERED_BYTES};
use gatehouse_core::message::{BodyLength, Fields};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::task::{Context, Poll, ready};

mod rewinding;
mod splicing;
mod translating;

use translating::{end, translate};

/// Bytes of a body that are kept to be sent again.
const KEPT_MAX: usize = crate::buffer::SMALL_BYTES;
/// Why a body did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PumpError {
    /// The sender's connection ended before the body did.
    Cut,
    /// The sender's connection broke.
    Reset,
    /// The sender's framing is broken.
    Malformed(&'static str),
    /// The body is longer than allowed.
    TooLarge,
    /// The receiver's connection broke.
    Sink,
}

/// Which side a pump is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// More of the body.
    Source,
    /// Room to write.
    Sink,
}

/// What is being written: head, chunk size, payload in the inbox, what follows it.
#[derive(Debug, Default)]
struct Batch {
    active: bool,
    prefix: [u8; 18],
    prefix_len: usize,
    data: Range<usize>,
    consumed: usize,
    suffix: &'static [u8],
    trailers: Vec<u8>,
    /// What was made of the payload, where something is.
    made: Vec<u8>,
    /// Trailers for a stream that has its own form of them.
    fields: Option<Box<Fields>>,
    written: usize,
}

impl Batch {
    /// Starts over with a head that is still to be written.
    fn begin(&mut self) {
        self.active = true;
        self.prefix_len = 0;
        self.suffix = b"";
        self.done();
    }

    /// Forgets what was written.
    fn done(&mut self) {
        self.data = 0..0;
        self.consumed = 0;
        self.trailers.clear();
        self.fields = None;
        self.written = 0;
    }
}

/// Carries one message after another; it keeps its room between them.
#[derive(Debug)]
pub struct Pump {
    decoder: Decoder,
    framing: Framing,
    head: Vec<u8>,
    batch: Batch,
    ended: bool,
    payload: u64,
    payload_max: u64,
    progress: u64,
    source: u64,
    /// What `source` was when the sink was last waited for.
    hindered: u64,
    /// What was taken of the body so far, while it is kept.
    kept: Vec<u8>,
    keeps: bool,
    /// What is made of the payload on its way.
    web: Option<Box<Web>>,
    /// What the trailers say of a call.
    call_status: Option<u8>,
    /// What the kernel moves by itself.
    pipe: Option<Pipe>,
}

impl Default for Pump {
    /// A pump that has nothing to carry.
    fn default() -> Pump {
        Pump {
            decoder: Decoder::new(BodyLength::None),
            framing: Framing::Plain,
            head: Vec::new(),
            batch: Batch::default(),
            ended: true,
            payload: 0,
            payload_max: u64::MAX,
            progress: 0,
            source: 0,
            hindered: 0,
            kept: Vec::new(),
            keeps: false,
            web: None,
            call_status: None,
            pipe: None,
        }
    }
}

impl Pump {
    /// Starts over: a message that consists of the head the caller writes to what this returns,
    /// and a body of this length, which `framing` frames on its way out. More than `payload_max`
    /// bytes of it are refused.
    pub fn begin(
        &mut self,
        length: BodyLength,
        framing: Framing,
        payload_max: Option<u64>,
    ) -> &mut Vec<u8> {
        self.decoder = Decoder::new(length);
        self.framing = framing;
        self.batch.begin();
        // A head alone needs no look at what follows it.
        self.ended = self.decoder.is_done() && framing == Framing::Plain;
        self.payload = 0;
        self.payload_max = payload_max.unwrap_or(u64::MAX);
        self.progress = 0;
        self.source = 0;
        self.hindered = 0;
        self.keeps = false;
        self.kept.clear();
        self.web = None;
        self.call_status = None;
        self.pipe = None;
        self.head.clear();
        &mut self.head
    }

    /// Ends the message with these trailers: one that is nothing but what the caller has written,
    /// so many bytes of it payload.
    pub fn trail(&mut self, payload: usize, trailers: Option<&Fields>) {
        self.payload = payload as u64;
        self.decoder = Decoder::last(0, trailers.cloned().map(Box::new));
    }

    /// Gives back the room for a head beyond so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        self.head.shrink_to(bytes);
    }

    /// Payload bytes taken from the sender so far.
    pub fn payload(&self) -> u64 {
        self.payload
    }

    /// Rises with every byte read or written.
    pub fn progress(&self) -> u64 {
        self.progress
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.progress - self.source
    }

    /// Bytes the sender has sent while the pump ran.
    pub fn source_bytes(&self) -> u64 {
        self.source
    }

    /// Whether the whole message was read from its sender.
    pub fn source_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether any byte was written.
    pub fn has_begun(&self) -> bool {
        self.framing == Framing::Frames || self.written() > 0
    }

    /// Whom a pending pump waits for.
    pub fn waits(&self) -> Waits {
        let moving = self.pipe.as_ref().is_some_and(|pipe| pipe.held() > 0);
        if self.batch.active || self.ended || moving { Waits::Sink } else { Waits::Source }
    }

    /// Gives up writing: takes what was decoded and not yet written off the inbox, so that the
    /// sender's connection stands at the first byte that nobody has looked at.
    pub fn give_up(&mut self, inbox: &mut Inbox) {
        inbox.consume(self.batch.consumed);
        self.batch.consumed = 0;
        self.batch.data = 0..0;
    }

    /// What is left of the message, to go on reading what nobody wants any more. It follows on
    /// the inbox only after [`Pump::give_up`], and not at all once the pump has failed.
    pub fn rest(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    /// Moves what can be moved; ready once the message has been written whole. Where there are
    /// `pipes`, a large body without framing is moved by the kernel.
    ///
    /// # Errors
    /// [`PumpError`]; what was written so far stays written.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        inbox: &mut Inbox,
        sink: &mut Stream,
        pipes: Option<&Pipes>,
    ) -> Poll<Result<(), PumpError>> {
        let polled = self.poll_moving(cx, source, inbox, sink, pipes);
        match polled {
            Poll::Ready(Ok(())) if self.hindered == 0 && self.source > 0 => {
                source.note_unhindered(self.source);
            }
            Poll::Pending if self.waits() == Waits::Sink => {
                self.hindered = self.source;
                inbox.note_hindered();
            }
            Poll::Pending if self.source - self.hindered >= UNHINDERED_BYTES => source.widen(),
            Poll::Pending | Poll::Ready(_) => {}
        }
        polled
    }

    fn poll_moving(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        inbox: &mut Inbox,
        sink: &mut Stream,
        pipes: Option<&Pipes>,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            if self.batch.active {
                if self.batch.written == 0 && !self.ended && self.batch.consumed == 0 {
                    self.load(inbox)?;
                }
                ready!(self.poll_write(cx, inbox, sink))?;
            }
            if self.ended {
                return sink.poll_flush(cx).map_err(|_| PumpError::Sink);
            }
            if let Some(pipes) = pipes
                && inbox.is_empty()
                && self.may_splice(pipes, source, sink)
            {
                inbox.release_if_empty();
                ready!(self.poll_splice(cx, pipes, source, sink))?;
                continue;
            }
            if inbox.is_empty() {
                inbox.release_if_empty();
                match ready!(inbox.poll_fill(cx, source)) {
                    Ok(0) => self.end_of_source(source)?,
                    Ok(count) => {
                        self.progress += count as u64;
                        self.source += count as u64;
                        self.look_for_end(cx, source, inbox);
                    }
                    Err(error) => return Poll::Ready(Err(broken(&error))),
                }
            }
            self.load(inbox)?;
        }
    }

    /// The sender closed: the end of a body that ends so, a cut of any other.
    fn end_of_source(&mut self, source: &mut Stream) -> Result<(), PumpError> {
        if !self.decoder.ends_with_connection() {
            return Err(PumpError::Cut);
        }
        let trailers = source.as_h2().and_then(H2Stream::take_trailers);
        self.keeps &= trailers.is_none();
        self.decoder = Decoder::last(0, trailers);
        Ok(())
    }

    /// An HTTP/2 stream may have told its end with the bytes that were just read: then they are
    /// written with the end, not before it.
    fn look_for_end(&mut self, cx: &mut Context<'_>, source: &mut Stream, inbox: &Inbox) {
        let Some(stream) = source.as_h2() else { return };
        if self.decoder.ends_with_connection() && stream.is_drained(cx) {
            let trailers = stream.take_trailers();
            self.keeps &= trailers.is_none();
            self.decoder = Decoder::last(inbox.bytes().len(), trailers);
        }
    }

    /// Makes the next batch of what is in the inbox.
    fn load(&mut self, inbox: &mut Inbox) -> Result<(), PumpError> {
        let decoded = self
            .decoder
            .decode(inbox.bytes_mut())
            .map_err(|error| PumpError::Malformed(error.0))?;
        let mut size = decoded.data.len();
        self.payload += size as u64;
        if self.payload > self.payload_max {
            return Err(PumpError::TooLarge);
        }
        let batch = &mut self.batch;
        batch.prefix_len = 0;
        batch.suffix = b"";
        if let Some(web) = &mut self.web {
            let data = &inbox.bytes()[decoded.data.clone()];
            size = translate(web, data, batch)?;
            if decoded.done {
                let trailers = self.decoder.take_trailers();
                self.call_status = trailers.as_deref().and_then(grpc_web::status);
                size = end(web, trailers, batch)?;
            }
        }
        if self.framing == Framing::Chunked {
            batch.suffix = match (size > 0, decoded.done) {
                (true, true) => b"\r\n0\r\n\r\n",
                (true, false) => b"\r\n",
                (false, true) => b"0\r\n\r\n",
                (false, false) => b"",
            };
            if size > 0 {
                batch.prefix_len = encode::chunk_size(size, &mut batch.prefix);
            }
            if decoded.done
                && let Some(trailers) = self.decoder.take_trailers()
            {
                batch.suffix = b"";
                last_chunk(size > 0, &trailers, &mut batch.trailers);
            }
        } else if self.framing == Framing::Frames && decoded.done {
            batch.fields = batch.fields.take().or_else(|| self.decoder.take_trailers());
            if let Some(trailers) = &batch.fields {
                self.call_status = grpc_web::status(trailers);
            }
        }
        batch.data = decoded.data;
        batch.consumed = decoded.consumed;
        batch.active = true;
        self.ended = decoded.done;
        Ok(())
    }

    /// Writes the batch out.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        inbox: &mut Inbox,
        sink: &mut Stream,
    ) -> Poll<Result<(), PumpError>> {
        let batch = &mut self.batch;
        let payload = &inbox.bytes()[batch.data.clone()];
        let data = if self.web.is_some() { &batch.made } else { payload };
        let prefix = &batch.prefix[..batch.prefix_len];
        let after = batch.suffix.len() + batch.trailers.len();
        let bytes = self.head.len() + prefix.len() + data.len() + after;
        while batch.written < bytes {
            let mut room = [IoSlice::new(&[]); 5];
            let slices = match self.framing {
                Framing::Plain | Framing::Frames => {
                    unwritten([&self.head, data], batch.written, &mut room)
                }
                Framing::Chunked => {
                    let parts = [&self.head, prefix, data, batch.suffix, &batch.trailers];
                    unwritten(parts, batch.written, &mut room)
                }
            };
            let frames = if self.framing == Framing::Frames { sink.as_h2() } else { None };
            let wrote = match frames {
                Some(stream) => {
                    let last = self.ended && batch.fields.is_none();
                    let ends = if last { Last::Yes } else { Last::No };
                    stream.poll_write(cx, slices, ends)
                }
                None => sink.poll_write_vectored(cx, slices),
            };
            match ready!(wrote) {
                Ok(0) | Err(_) => return Poll::Ready(Err(PumpError::Sink)),
                Ok(count) => {
                    batch.written += count;
                    self.progress += count as u64;
                }
            }
        }
        if self.framing == Framing::Frames
            && self.ended
            && let Some(stream) = sink.as_h2()
        {
            match &batch.fields {
                Some(trailers) => stream.send_trailers(trailers).map_err(|_| PumpError::Sink)?,
                None => stream.shutdown(),
            }
        }
        if self.keeps {
            let data = &inbox.bytes()[batch.data.clone()];
            self.keeps = self.kept.len() + data.len() <= KEPT_MAX;
            self.kept.extend_from_slice(if self.keeps { data } else { &[] });
        }
        inbox.consume(batch.consumed);
        batch.done();
        batch.active = false;
        self.head.clear();
        Poll::Ready(Ok(()))
    }
}

/// What of `parts` is left behind the first `written` bytes.
#[inline]
fn unwritten<'a, 'b, const N: usize>(
    parts: [&'a [u8]; N],
    written: usize,
    room: &'b mut [IoSlice<'a>; 5],
) -> &'b [IoSlice<'a>] {
    let mut skip = written;
    let mut used = 0;
    for part in parts {
        if skip < part.len() {
            room[used] = IoSlice::new(&part[skip..]);
            used += 1;
            skip = 0;
        } else {
            skip -= part.len();
        }
    }
    &room[..used]
}

/// Why a sender cannot be read any more.
fn broken(error: &io::Error) -> PumpError {
    match error.kind() {
        // Of an HTTP/2 stream.
        io::ErrorKind::InvalidData => PumpError::Malformed("its trailers cannot be passed on"),
        _ => PumpError::Reset,
    }
}

/// The last chunk and the trailer section behind it.
fn last_chunk(after_data: bool, trailers: &Fields, out: &mut Vec<u8>) {
    out.clear();
    if after_data {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n");
    encode::fields(trailers, out);
}

/// Writes `text` whole, from `written` on.
///
/// # Errors
/// What the socket says.
pub fn poll_write_all(
    cx: &mut Context<'_>,
    sink: &mut Stream,
    text: &[u8],
    written: &mut usize,
) -> Poll<io::Result<()>> {
    while *written < text.len() {
        match ready!(sink.poll_write_vectored(cx, &[IoSlice::new(&text[*written..])]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => *written += count,
        }
    }
    sink.poll_flush(cx)
}
