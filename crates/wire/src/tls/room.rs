//! Buffers for ciphertext, kept by the thread. A connection holds one only while it holds bytes.

use super::stream::RECORD_BYTES_MAX;
use std::cell::RefCell;

/// Bytes of an ordinary room: one whole record, and a little.
const SMALL_BYTES: usize = 17 * 1024;

/// Bytes of the room of a stream that keeps filling the ordinary one: four whole records.
pub(super) const LARGE_BYTES: usize = 68 * 1024;

/// Rooms of each size that a thread keeps for later; more are given back to the allocator.
const KEPT_SMALL_MAX: usize = 256;
const KEPT_LARGE_MAX: usize = 32;

const _: () = assert!(SMALL_BYTES >= RECORD_BYTES_MAX && LARGE_BYTES >= 4 * RECORD_BYTES_MAX);

thread_local! {
    static KEPT: RefCell<[Vec<Box<[u8]>>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

fn take(bytes: usize) -> Box<[u8]> {
    let (class, bytes) = match bytes {
        bytes if bytes <= SMALL_BYTES => (0, SMALL_BYTES),
        bytes if bytes <= LARGE_BYTES => (1, LARGE_BYTES),
        // A flight of handshake messages with very many certificates; nobody keeps it.
        bytes => return vec![0; bytes].into_boxed_slice(),
    };
    let kept = KEPT.with_borrow_mut(|kept| kept[class].pop());
    kept.unwrap_or_else(|| vec![0; bytes].into_boxed_slice())
}

fn give(data: Box<[u8]>) {
    let (class, most) = match data.len() {
        SMALL_BYTES => (0, KEPT_SMALL_MAX),
        LARGE_BYTES => (1, KEPT_LARGE_MAX),
        _ => return,
    };
    // A thread that is ending keeps nothing.
    let _ = KEPT.try_with(|kept| {
        let kept = &mut kept.borrow_mut()[class];
        if kept.len() < most {
            kept.push(data);
        }
    });
}

/// Bytes that wait at the front, and room behind them.
#[derive(Debug, Default)]
pub(super) struct Room {
    data: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Room {
    /// What waits.
    pub fn bytes(&self) -> &[u8] {
        self.data.as_deref().map_or(&[], |data| &data[self.start..self.end])
    }

    /// The same, to be worked on in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.data.as_deref_mut().map_or(&mut [], |data| &mut data[self.start..self.end])
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes the first `count` bytes away. The room stays until it is released.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Gives the buffer back where nothing waits in it.
    pub fn release_if_empty(&mut self) {
        if self.is_empty()
            && let Some(data) = self.data.take()
        {
            give(data);
        }
    }

    /// Room for at least `bytes` more, all that there is.
    pub fn free(&mut self, bytes: usize) -> &mut [u8] {
        let held = self.end - self.start;
        let size = self.data.as_deref().map_or(0, <[u8]>::len);
        if size - self.end < bytes {
            if held + bytes <= size {
                if let Some(data) = self.data.as_deref_mut() {
                    data.copy_within(self.start..self.end, 0);
                }
            } else {
                let mut larger = take(held + bytes);
                larger[..held].copy_from_slice(self.bytes());
                if let Some(smaller) = self.data.replace(larger) {
                    give(smaller);
                }
            }
            self.start = 0;
            self.end = held;
        }
        let end = self.end;
        self.data.as_deref_mut().map_or(&mut [], |data| &mut data[end..])
    }

    /// The first `count` bytes of what [`Room::free`] gave are filled.
    pub fn commit(&mut self, count: usize) {
        let size = self.data.as_deref().map_or(0, <[u8]>::len);
        self.end = (self.end + count).min(size);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(data) = self.data.take() {
            give(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_order_while_a_room_moves_and_grows() {
        let mut room = Room::default();
        let mut expected = Vec::new();
        for round in 0..200_usize {
            let more: Vec<u8> = (0..round * 7 % 1500).map(|at| (at + round) as u8).collect();
            room.free(more.len().max(1))[..more.len()].copy_from_slice(&more);
            room.commit(more.len());
            expected.extend_from_slice(&more);
            let gone = expected.len() / 3;
            room.consume(gone);
            expected.drain(..gone);
            assert_eq!(room.bytes(), expected);
        }
        room.consume(expected.len());
        room.release_if_empty();
        assert!(room.data.is_none());
    }
}
