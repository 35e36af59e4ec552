//! The admin interface: what can be asked of a running gateway, over `wire`'s HTTP/1.1. In this
//! version it only shows; nothing is changed by it.
//!
//! It listens on loopback alone. A request whose `Host` is no loopback name is refused, so that no
//! page in a browser can reach it through a name of its own.

mod metrics;
mod status;

pub use metrics::metrics;
pub use status::{Health, health, status};

use gatehouse_core::address::Bind;
use gatehouse_core::message::{BodyLength, Method, RequestHead};
use gatehouse_proxy::gate::{Handle, spawn};
use gatehouse_wire::h1::{RequestLimits, encode, request};
use gatehouse_wire::net::Bound;
use gatehouse_wire::pump::poll_write_all;
use gatehouse_wire::timer::{Timer, now, sleep};
use gatehouse_wire::{Buffers, Inbox, Listener, Stream};
use std::cell::Cell;
use std::fmt::Write;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::Poll;
use std::time::{Duration, SystemTime};

/// Admin connections open at once.
const CONNECTIONS_MAX: usize = 64;

/// How long one request and its answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the admin interface shows.
#[derive(Debug)]
pub struct Shown {
    /// The data plane.
    pub handle: Handle,
    /// Where each listener listens, by name.
    pub listeners: Vec<(String, Bind)>,
    /// Access log lines that could not be written.
    pub log_lines_lost: Arc<AtomicU64>,
    /// When the process started.
    pub started: SystemTime,
}

/// A bound admin interface.
#[derive(Debug)]
pub struct Admin {
    bound: Bound,
}

impl Admin {
    /// Binds it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn bind(address: std::net::SocketAddr) -> io::Result<Admin> {
        Ok(Admin { bound: Bound::new(&Bind::Ip(address), 1)? })
    }

    /// Where it listens, with the port the kernel chose.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn address(&self) -> io::Result<Bind> {
        self.bound.address()
    }

    /// Serves for as long as the runtime this is called on lives.
    ///
    /// # Errors
    /// Where the socket cannot be registered.
    pub fn serve(self, shown: Shown) -> io::Result<()> {
        let listener = Listener::register(self.bound.for_worker(0)?)?;
        spawn(accept(self.bound, listener, Rc::new(shown)));
        Ok(())
    }
}

struct Open(Rc<Cell<usize>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn accept(_bound: Bound, mut listener: Listener, shown: Rc<Shown>) {
    let open = Rc::new(Cell::new(0));
    let buffers = Buffers::new();
    loop {
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok((stream, _)) if open.get() < CONNECTIONS_MAX => {
                open.set(open.get() + 1);
                let place = Open(Rc::clone(&open));
                let (shown, inbox) = (Rc::clone(&shown), Inbox::new(Rc::clone(&buffers)));
                spawn(async move {
                    let _place = place;
                    serve(stream, inbox, &shown).await;
                });
            }
            Ok(_) => {}
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// One request after another, until one is refused or the client leaves.
async fn serve(mut stream: Stream, mut inbox: Inbox, shown: &Shown) {
    let limits = RequestLimits { head_bytes_max: 8192, fields_max: 64, target_bytes_max: 1024 };
    let mut timer = Timer::after(TIMEOUT);
    let mut head = RequestHead::default();
    loop {
        let until = now().after(TIMEOUT);
        let mut scanned = 0;
        let read = poll_fn(|cx| {
            let read =
                request::poll_read(cx, &mut stream, &mut inbox, &limits, &mut scanned, &mut head);
            match read {
                Poll::Ready(read) => Poll::Ready(read.is_ok()),
                Poll::Pending => timer.poll_until(cx, until).map(|()| false),
            }
        });
        if !read.await {
            return;
        }
        let keep = head.keep_alive && head.body == BodyLength::None;
        let text = answer(&head, shown, keep);
        let until = now().after(TIMEOUT);
        let mut written = 0;
        let wrote =
            poll_fn(|cx| match poll_write_all(cx, &mut stream, text.as_bytes(), &mut written) {
                Poll::Ready(wrote) => Poll::Ready(wrote.is_ok()),
                Poll::Pending => timer.poll_until(cx, until).map(|()| false),
            });
        if !wrote.await || !keep {
            return;
        }
    }
}

/// A status, a content type and a body.
struct Page(u16, &'static str, String);

const PLAIN: &str = "text/plain; charset=utf-8";

fn page(head: &RequestHead, shown: &Shown) -> Page {
    let host = String::from_utf8_lossy(head.text(head.host)).into_owned();
    if !is_loopback(&host) {
        let text = format!("host {host} is not a loopback name; ask by 127.0.0.1 or localhost\n");
        return Page(421, PLAIN, text);
    }
    if !matches!(head.method(), Method::Get | Method::Head) {
        return Page(405, PLAIN, "only GET and HEAD are answered here\n".to_owned());
    }
    match head.path_text() {
        b"/metrics" => Page(200, "text/plain; version=0.0.4; charset=utf-8", metrics(shown)),
        b"/healthz" => {
            let health = health(shown);
            Page(health.status(), PLAIN, health.to_string())
        }
        b"/status" => Page(200, "application/json", format!("{}\n", status(shown))),
        b"/" => Page(200, PLAIN, "/healthz\n/metrics\n/status\n".to_owned()),
        _ => Page(404, PLAIN, "not here; see /healthz, /metrics and /status\n".to_owned()),
    }
}

fn answer(head: &RequestHead, shown: &Shown, keep: bool) -> String {
    let Page(status, content_type, body) = page(head, shown);
    let mut text = String::with_capacity(body.len() + 256);
    let reason = encode::reason(status);
    let _ = write!(text, "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\n");
    let _ = write!(text, "Content-Length: {}\r\nCache-Control: no-store\r\n", body.len());
    if status == 405 {
        text.push_str("Allow: GET, HEAD\r\n");
    }
    if !keep {
        text.push_str("Connection: close\r\n");
    }
    text.push_str("\r\n");
    if head.method() != Method::Head {
        text.push_str(&body);
    }
    text
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        for (host, expected) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("example.com", false),
            ("127.0.0.1.example.com", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
