//! What is still to be written on a connection: heads as bytes, bodies as a recipe, so that an
//! answer of any size costs the same memory.

use std::io::{IoSlice, Write};
use std::os::fd::OwnedFd;
use std::sync::LazyLock;

use crate::checksum;
use crate::socket::{self, Moved};

/// Bodies repeat a block of this size.
const BLOCK_BYTES: usize = 256 << 10;
/// Body bytes offered to the kernel in one call.
const WRITE_BYTES: u64 = 256 << 10;
/// Bodies up to this size are copied behind their head, so that one small call writes both.
const COPY_BYTES_MAX: u64 = 16 << 10;
/// The size of a chunk.
const CHUNK_BYTES: u64 = 16 << 10;
/// Room kept between answers.
const ROOM_BYTES_MAX: usize = 64 << 10;

/// Letters without a short period, a line break at the end of each 64: a body that is cut, doubled
/// or shifted does not look whole.
static BLOCK: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_u32;
    let bytes = (0..BLOCK_BYTES).map(|at| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        if at % 64 == 63 { b'\n' } else { b'a' + (state % 26) as u8 }
    });
    bytes.collect()
});

/// The piece of a body from `at`, up to `limit` bytes, less where the block ends.
fn piece(at: u64, limit: u64) -> &'static [u8] {
    let from = (at % BLOCK_BYTES as u64) as usize;
    let count = limit.min((BLOCK_BYTES - from) as u64) as usize;
    &BLOCK[from..from + count]
}

/// The checksum of the first `length` bytes of a body.
pub(super) fn body_checksum(length: u64) -> u32 {
    let block = checksum::extend(0, &BLOCK);
    let whole = checksum::repeat(block, BLOCK_BYTES as u64, length / BLOCK_BYTES as u64);
    checksum::extend(whole, piece(0, length % BLOCK_BYTES as u64))
}

/// A body that is not written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    /// Bytes `at..end`.
    Plain {
        at: u64,
        end: u64,
    },
    Chunked {
        at: u64,
        end: u64,
        trailer: Trailer,
    },
}

/// Whether a chunked body ends with its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailer {
    None,
    Checksum,
}

/// What is to be written: bytes first, then the body.
pub(super) struct Output {
    bytes: Vec<u8>,
    sent: usize,
    body: Body,
}

impl Output {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), sent: 0, body: Body::None }
    }

    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len() && self.body == Body::None
    }

    /// Whether another answer may be put behind what is there.
    pub fn has_room(&self) -> bool {
        self.body == Body::None && self.bytes.len() < ROOM_BYTES_MAX
    }

    /// Where a head is written to. Nothing may follow a body that is not written yet.
    pub fn head(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Sets the body that follows.
    pub fn body(&mut self, body: Body) {
        match body {
            Body::Plain { at, end } if end - at <= COPY_BYTES_MAX => {
                let mut at = at;
                while at < end {
                    let piece = piece(at, end - at);
                    self.bytes.extend_from_slice(piece);
                    at += piece.len() as u64;
                }
            }
            body => self.body = body,
        }
    }

    /// Writes once, as much as the socket takes.
    pub fn write(&mut self, socket: &OwnedFd) -> Moved {
        if self.sent == self.bytes.len() {
            self.clear();
            self.add_chunks();
        }
        let moved = match self.body {
            Body::Plain { at, end } => {
                let mut slices = [IoSlice::new(&[]); 3];
                slices[0] = IoSlice::new(&self.bytes[self.sent..]);
                let limit = WRITE_BYTES.min(end - at);
                let first = piece(at, limit);
                slices[1] = IoSlice::new(first);
                slices[2] =
                    IoSlice::new(piece(at + first.len() as u64, limit - first.len() as u64));
                socket::write_all_of(socket, &slices)
            }
            _ => socket::write(socket, &self.bytes[self.sent..]),
        };
        if let Moved::Bytes(count) = moved {
            self.written(count);
        }
        moved
    }

    fn written(&mut self, count: usize) {
        let of_bytes = count.min(self.bytes.len() - self.sent);
        self.sent += of_bytes;
        if self.sent == self.bytes.len() {
            self.clear();
        }
        if let Body::Plain { at, end } = self.body {
            let at = at + (count - of_bytes) as u64;
            self.body = if at == end { Body::None } else { Body::Plain { at, end } };
        }
    }

    fn clear(&mut self) {
        self.sent = 0;
        self.bytes.clear();
        self.bytes.shrink_to(ROOM_BYTES_MAX);
    }

    /// Lays out the next chunks of a chunked body.
    fn add_chunks(&mut self) {
        let Body::Chunked { mut at, end, trailer } = self.body else { return };
        while at < end && self.bytes.len() < ROOM_BYTES_MAX {
            let piece = piece(at, CHUNK_BYTES.min(end - at));
            put(&mut self.bytes, format_args!("{:x}\r\n", piece.len()));
            self.bytes.extend_from_slice(piece);
            self.bytes.extend_from_slice(b"\r\n");
            at += piece.len() as u64;
        }
        self.body = Body::Chunked { at, end, trailer };
        if at == end {
            self.bytes.extend_from_slice(b"0\r\n");
            if trailer == Trailer::Checksum {
                put(&mut self.bytes, format_args!("X-Checksum: {:08x}\r\n", body_checksum(end)));
            }
            self.bytes.extend_from_slice(b"\r\n");
            self.body = Body::None;
        }
    }
}

/// Writes text into a buffer.
pub(super) fn put(buffer: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    buffer.write_fmt(text).expect("a Vec takes every byte");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_body_is_that_of_its_bytes() {
        for length in [0, 1, 1024, BLOCK_BYTES as u64, 3 * BLOCK_BYTES as u64 + 17] {
            let mut sum = 0;
            let mut at = 0;
            while at < length {
                let piece = piece(at, length - at);
                sum = checksum::extend(sum, piece);
                at += piece.len() as u64;
            }
            assert_eq!(body_checksum(length), sum, "{length} bytes");
        }
    }
}
