//! Clients that ask on and on while something happens to the gateway.

use gatehouse_rig::load::{End, Load, Question};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

/// The load ends when this is dropped, also by a test that fails.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Asks over 16 connections that are kept while `work` runs; every answer has to be right. Returns
/// how many there were.
#[track_caller]
pub fn under_load(to: SocketAddr, work: impl FnOnce()) -> u64 {
    let running = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answered = 0;
            while running.load(Ordering::Relaxed) {
                let question = Question::get("/");
                let load = Load { to, question, connections: 16, end: End::Requests(2_000) };
                let outcome = load.run().expect("it runs");
                assert_eq!(outcome.first, None);
                answered += outcome.answered;
            }
            answered
        });
        let ends = Running(&running);
        work();
        drop(ends);
        asking.join().expect("every answer was right")
    })
}

/// How often something is done: more where there is time (`GATEHOUSE_LONG`).
pub fn rounds(few: u64, many: u64) -> u64 {
    if std::env::var_os("GATEHOUSE_LONG").is_some() { many } else { few }
}
