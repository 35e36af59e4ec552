//! Names of servers that sources talk to.

use std::future::poll_fn;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// Addresses one name may stand for.
const ADDRESSES_MAX: usize = 64;

#[derive(Default)]
struct Slot {
    found: Option<Result<Vec<SocketAddr>, String>>,
    waker: Option<Waker>,
}

/// The addresses of a server: those of a name, or the one that is written. At least one.
///
/// # Errors
/// Why there is none, without the name.
pub(crate) async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let slot: Arc<Mutex<Slot>> = Arc::default();
    let (own, host) = (Arc::clone(&slot), host.to_owned());
    let work = move || {
        let found = (&*host, port).to_socket_addrs();
        let found = found.map(|found| found.take(ADDRESSES_MAX).collect::<Vec<_>>());
        let found = match found {
            Ok(found) if found.is_empty() => Err("the name has no address".to_owned()),
            Ok(found) => Ok(found),
            Err(error) => Err(format!("the name does not resolve: {error}")),
        };
        let mut slot = own.lock().unwrap_or_else(PoisonError::into_inner);
        slot.found = Some(found);
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    };
    let started = std::thread::Builder::new().name("look-up".to_owned()).spawn(work);
    started.map_err(|error| format!("no thread: {error}"))?;
    poll_fn(|cx| {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.found.take() {
            Some(found) => Poll::Ready(found),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}
