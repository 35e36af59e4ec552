//! The access log's way off the data path: lines are written into a batch by the worker, batches
//! go through a bounded channel to whoever writes them out, and come back empty.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// Bytes of a batch that are sent off at once.
const BATCH_BYTES: usize = 64 * 1024;

/// Batches under way between one worker and the writer.
const BATCHES_MAX: usize = 64;

// What a worker may hold unwritten: with the batch in hand, 4 MiB and a little.
const _: () = assert!(BATCH_BYTES * BATCHES_MAX <= 4 * 1024 * 1024);

/// Whole lines, and how many.
#[derive(Debug, Default)]
pub struct Batch {
    /// The lines, each ended by a line feed.
    pub text: Vec<u8>,
    /// How many they are.
    pub lines: u64,
}

/// The worker's end.
#[derive(Debug)]
pub struct LogSource {
    batch: RefCell<Batch>,
    sender: SyncSender<Batch>,
    returned: Receiver<Batch>,
}

/// The writer's end. Give a batch back once it is written.
#[derive(Debug)]
pub struct LogSink {
    /// Full batches.
    pub batches: Receiver<Batch>,
    /// Where they go back.
    pub back: SyncSender<Batch>,
}

/// The two ends of one worker's log.
pub fn pair() -> (LogSource, LogSink) {
    let (sender, batches) = sync_channel(BATCHES_MAX);
    let (back, returned) = sync_channel(BATCHES_MAX);
    (LogSource { batch: RefCell::default(), sender, returned }, LogSink { batches, back })
}

impl LogSource {
    /// Writes one line; says how many lines were lost because the writer is too far behind.
    pub(crate) fn line(&self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let full = {
            let mut batch = self.batch.borrow_mut();
            write(&mut batch.text);
            batch.lines += 1;
            batch.text.len() >= BATCH_BYTES
        };
        if full { self.flush() } else { 0 }
    }

    /// Sends off what is there; says how many lines were lost.
    pub(crate) fn flush(&self) -> u64 {
        let mut batch = self.batch.borrow_mut();
        if batch.lines == 0 {
            return 0;
        }
        let mut next = self.returned.try_recv().unwrap_or_default();
        next.text.clear();
        next.lines = 0;
        match self.sender.try_send(std::mem::replace(&mut *batch, next)) {
            Ok(()) => 0,
            Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) => lost.lines,
        }
    }
}
