//! The admin interface: what can be asked of a running gateway, over `wire`'s HTTP/1.1. What it is
//! told to change it leaves to the control thread. It listens on loopback alone.

mod ask;
mod metrics;
mod status;

pub use metrics::metrics;
pub use status::{Health, health, status};

use crate::acme::Seen;
use crate::discovery;
use crate::registry::Registry;
use crate::steer::facts::Facts;
use crate::steer::orders::{Answer, Mailbox, Order};
use ask::{Ask, Denied};
use gatehouse_core::address::Bind;
use gatehouse_core::message::{BodyLength, Method, RequestHead};
use gatehouse_proxy::gate::{Handle, spawn};
use gatehouse_wire::h1::{RequestLimits, encode, request};
use gatehouse_wire::net::Bound;
use gatehouse_wire::pump::poll_write_all;
use gatehouse_wire::timer::{Timer, now, sleep};
use gatehouse_wire::{Buffers, Inbox, Listener, Stream};
use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Poll, Waker};
use std::time::{Duration, SystemTime};

/// Admin connections open at once.
const CONNECTIONS_MAX: usize = 64;

/// The `Server` of every answer: who asks can tell it from any other server.
pub const SERVER: &str = "gatehouse-admin";

/// How long one request and its answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long an order may take, names that are looked up included.
const ORDER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the admin interface shows, and whom it asks for changes.
#[derive(Debug)]
pub struct Shown {
    /// The data plane.
    pub handle: Handle,
    /// Where each listener listens, by name.
    pub listeners: RefCell<Vec<(String, Bind)>>,
    /// Access log lines that could not be written.
    pub log_lines_lost: Arc<AtomicU64>,
    /// When the process started.
    pub started: SystemTime,
    pub(crate) facts: Rc<RefCell<Facts>>,
    /// Certificates that are asked for.
    pub(crate) acme: Seen,
    /// What is announced.
    pub(crate) register: crate::register::Seen,
    /// Where endpoints come from.
    pub(crate) discovery: discovery::Seen,
    /// How endpoints are judged.
    pub(crate) registry: Registry,
    pub(crate) mailbox: Mailbox,
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

    /// One whose socket another process has bound.
    pub(crate) fn of(bound: Bound) -> Admin {
        Admin { bound }
    }

    /// Where it listens, with the port the kernel chose.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn address(&self) -> io::Result<Bind> {
        self.bound.address()
    }

    /// Serves until the door is dropped or the runtime this is called on ends.
    ///
    /// # Errors
    /// Where the socket cannot be registered.
    pub fn serve(self, shown: Rc<Shown>) -> io::Result<Door> {
        let mut sockets = self.bound.for_worker(0, 1)?;
        let socket = sockets.pop().ok_or(io::ErrorKind::NotFound)?;
        let listener = Listener::register(socket)?;
        let closed: Rc<Closed> = Rc::default();
        spawn(accept(listener, shown, Rc::clone(&closed)));
        Ok(Door { bound: self.bound, closed })
    }
}

/// An admin interface that is served. Dropping it closes its socket; connections that are open
/// have their next answer.
#[derive(Debug)]
pub struct Door {
    bound: Bound,
    closed: Rc<Closed>,
}

impl Door {
    /// Its socket.
    pub(crate) fn bound(&self) -> &Bound {
        &self.bound
    }
}

#[derive(Debug, Default)]
struct Closed {
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closed.closed.set(true);
        if let Some(waker) = self.closed.waker.take() {
            waker.wake();
        }
    }
}

struct Open(Rc<Cell<usize>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn accept(mut listener: Listener, shown: Rc<Shown>, closed: Rc<Closed>) {
    let open = Rc::new(Cell::new(0));
    let buffers = Buffers::new();
    loop {
        let taken = poll_fn(|cx| {
            if closed.closed.get() {
                return Poll::Ready(None);
            }
            closed.waker.replace(Some(cx.waker().clone()));
            listener.poll_accept(cx).map(Some)
        });
        let Some(taken) = taken.await else { return };
        match taken {
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
    let mut timer = Timer::default();
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
        let text = answer(&head, shown, keep).await;
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
struct Page {
    status: u16,
    content_type: &'static str,
    body: String,
    /// For `Allow`; may be empty.
    allow: &'static str,
}

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

impl Page {
    fn of(content_type: &'static str, body: String) -> Page {
        Page { status: 200, content_type, body, allow: "" }
    }
}

async fn page(head: &RequestHead, shown: &Shown) -> Page {
    let asked = match ask::ask(head) {
        Ok(asked) => asked,
        Err(Denied(status, text, allow)) => {
            return Page { status, allow, ..Page::of(PLAIN, format!("{text}\n")) };
        }
    };
    match asked {
        Ask::Index => Page::of(PLAIN, ask::INDEX.to_owned()),
        Ask::Metrics => Page::of("text/plain; version=0.0.4; charset=utf-8", metrics(shown)),
        Ask::Status => Page::of(JSON, format!("{}\n", status(shown))),
        Ask::Health => {
            let health = health(shown);
            Page { status: health.status(), ..Page::of(PLAIN, health.to_string()) }
        }
        Ask::Drain { upstream, endpoint } => {
            let (status, text) = status::drain(shown, &upstream, &endpoint);
            Page { status, ..Page::of(PLAIN, text) }
        }
        Ask::Order(order) => {
            let answer = ordered(order, shown).await;
            let json = head.fields.named(b"accept").any(|value| value.starts_with(JSON.as_bytes()));
            let page = match json {
                true => Page::of(JSON, format!("{}\n", answer.json)),
                false => Page::of(PLAIN, answer.text),
            };
            Page { status: answer.status, ..page }
        }
    }
}

/// Has the control thread do it.
async fn ordered(order: Order, shown: &Shown) -> Answer {
    let awaited = shown.mailbox.post(order);
    let until = now().after(ORDER_TIMEOUT);
    let mut timer = Timer::default();
    poll_fn(|cx| match awaited.poll(cx) {
        Poll::Ready(answer) => Poll::Ready(answer),
        Poll::Pending => timer.poll_until(cx, until).map(|()| {
            let seconds = ORDER_TIMEOUT.as_secs();
            Answer::line(504, format!("not done within {seconds} s, and still under way"))
        }),
    })
    .await
}

async fn answer(head: &RequestHead, shown: &Shown, keep: bool) -> String {
    let Page { status, content_type, body, allow } = page(head, shown).await;
    let mut text = String::with_capacity(body.len() + 256);
    let reason = encode::reason(status);
    let _ = write!(text, "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\n");
    let _ = write!(text, "Content-Length: {}\r\nCache-Control: no-store\r\n", body.len());
    let _ = write!(text, "Server: {SERVER}\r\n");
    if !allow.is_empty() {
        let _ = write!(text, "Allow: {allow}\r\n");
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
