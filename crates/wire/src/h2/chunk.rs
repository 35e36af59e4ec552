//! A piece of a body on its way out, in a buffer that goes back to its pool.

use crate::buffer::Buffers;
use bytes::Buf;
use std::fmt;
use std::io::IoSlice;
use std::rc::Rc;

/// Bytes that the h2 crate sends as DATA.
pub(crate) struct Chunk {
    pool: Option<Rc<Buffers>>,
    text: Vec<u8>,
    at: usize,
}

impl Chunk {
    /// No bytes: what carries an END_STREAM alone.
    pub const EMPTY: Chunk = Chunk { pool: None, text: Vec::new(), at: 0 };

    /// A copy of the first `count` bytes of `slices`.
    pub fn copy(pool: &Rc<Buffers>, slices: &[IoSlice<'_>], mut count: usize) -> Chunk {
        let mut text = pool.take_text();
        for slice in slices {
            let part = count.min(slice.len());
            text.extend_from_slice(&slice[..part]);
            count -= part;
        }
        Chunk { pool: Some(Rc::clone(pool)), text, at: 0 }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.text.len() - self.at
    }

    fn chunk(&self) -> &[u8] {
        &self.text[self.at..]
    }

    fn advance(&mut self, count: usize) {
        self.at = (self.at + count).min(self.text.len());
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({})", self.remaining())
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.give_text(std::mem::take(&mut self.text));
        }
    }
}
