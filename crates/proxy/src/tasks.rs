//! Tasks of one worker. One of the few files that name the driver.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

/// Counts a worker's tasks, so that a drain knows when it is done.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tasks(Rc<Cell<usize>>);

struct Running(Rc<Cell<usize>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Tasks {
    /// Runs `future` on this worker. A panic in it ends that task alone and is printed.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.0.set(self.0.get() + 1);
        let running = Running(Rc::clone(&self.0));
        tokio::task::spawn_local(async move {
            let _running = running;
            future.await;
        });
    }

    /// Tasks that are running.
    pub fn running(&self) -> usize {
        self.0.get()
    }
}

/// Runs `future` on this worker without counting it: it ends with the worker.
pub(crate) fn spawn_service(future: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(future);
}
