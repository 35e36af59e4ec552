//! Short bodies that can be sent again.

use super::Pump;
use crate::buffer::Inbox;
use crate::h1::encode::Framing;

impl Pump {
    /// Keeps the first bytes of the body, so that all of a short one can be sent again. Not one
    /// that is chunked: its framing is gone once it was read.
    pub fn keep(&mut self) {
        self.keeps = self.decoder.remaining().is_some() || self.decoder.ends_with_connection();
    }

    /// Whether nothing of the body was taken from its sender.
    pub fn is_untouched(&self) -> bool {
        self.source == 0
            && match self.framing {
                Framing::Plain | Framing::Chunked => !self.has_begun(),
                Framing::Frames => self.payload == 0,
            }
    }

    /// Keeps nothing any more.
    pub fn forget(&mut self) {
        self.keeps = false;
    }

    /// Whether all that was taken of the body is kept.
    pub fn can_rewind(&self) -> bool {
        self.keeps
    }

    /// Puts back what was taken of the body, where all of it is kept.
    pub fn rewind(&mut self, inbox: &mut Inbox) {
        if std::mem::take(&mut self.keeps) {
            inbox.put_back(&self.kept);
        }
    }
}
