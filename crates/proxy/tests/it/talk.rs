//! One end of a connection, played by a test, and the time that passes meanwhile.

use gatehouse_core::moment::Moment;
use gatehouse_wire::Stream;
use gatehouse_wire::memory::MemoryStream;
use gatehouse_wire::pump::poll_write_all;
use gatehouse_wire::timer::{Timer, now};
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

/// One end of a connection, played by a test.
pub struct Talk {
    stream: Stream,
    held: Vec<u8>,
}

/// What has not come after this long will not come.
const PATIENCE: Duration = Duration::from_secs(600);

/// Does `work`, unless the test would wait for ever.
pub async fn limited<T>(work: impl Future<Output = T>, what: &str) -> T {
    within(PATIENCE, work).await.unwrap_or_else(|| panic!("{what} did not come"))
}

impl Talk {
    pub fn new(stream: MemoryStream) -> Talk {
        Talk { stream: Stream::Memory(stream), held: Vec::new() }
    }

    /// Says `text`.
    pub async fn say(&mut self, text: impl AsRef<[u8]>) {
        let mut written = 0;
        let text = text.as_ref();
        let wrote = poll_fn(|cx| poll_write_all(cx, &mut self.stream, text, &mut written));
        limited(wrote, "room to write").await.expect("the other end is there");
    }

    /// Says as much of `text` as the other end takes; false where it takes no more.
    pub async fn try_say(&mut self, text: &[u8]) -> bool {
        let mut written = 0;
        limited(poll_fn(|cx| poll_write_all(cx, &mut self.stream, text, &mut written)), "room")
            .await
            .is_ok()
    }

    async fn read(&mut self) -> Option<usize> {
        let mut room = vec![0; 16 * 1024];
        let count =
            limited(poll_fn(|cx| self.stream.poll_read(cx, &mut room)), "more").await.ok()?;
        self.held.extend_from_slice(&room[..count]);
        Some(count)
    }

    /// Hears up to and with `marker`.
    pub async fn hear_until(&mut self, marker: &str) -> String {
        loop {
            let found = self.held.windows(marker.len()).position(|part| part == marker.as_bytes());
            if let Some(at) = found {
                let rest = self.held.split_off(at + marker.len());
                let heard = std::mem::replace(&mut self.held, rest);
                return String::from_utf8_lossy(&heard).into_owned();
            }
            if !matches!(self.read().await, Some(1..)) {
                panic!("ended before {marker:?}: {:?}", String::from_utf8_lossy(&self.held));
            }
        }
    }

    /// Hears one head.
    pub async fn hear_head(&mut self) -> String {
        self.hear_until("\r\n\r\n").await
    }

    /// Hears a head and a body of the length it names.
    pub async fn hear_message(&mut self) -> (String, String) {
        let head = self.hear_head().await;
        let length = field(&head, "content-length").map_or(0, |text| text.parse().expect("length"));
        let body = self.hear_bytes(length).await;
        (head, body)
    }

    /// Hears this many bytes.
    pub async fn hear_bytes(&mut self, count: usize) -> String {
        String::from_utf8_lossy(&self.hear_raw(count).await).into_owned()
    }

    /// Hears this many bytes, which need not be text.
    pub async fn hear_raw(&mut self, count: usize) -> Vec<u8> {
        while self.held.len() < count {
            assert!(matches!(self.read().await, Some(1..)), "the body was cut");
        }
        let rest = self.held.split_off(count);
        std::mem::replace(&mut self.held, rest)
    }

    /// Hears this many bytes, which need not be text; `None` where the connection ends first.
    pub async fn hear_raw_some(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.held.len() < count {
            if !matches!(self.read().await, Some(1..)) {
                return None;
            }
        }
        let rest = self.held.split_off(count);
        Some(std::mem::replace(&mut self.held, rest))
    }

    /// Hears a line however it ends; `None` where the connection ends first.
    pub async fn hear_line(&mut self) -> Option<String> {
        let mut count = 0;
        while count == 0 {
            match self.held.iter().position(|byte| *byte == b'\n') {
                Some(at) => count = at + 1,
                None if matches!(self.read().await, Some(1..)) => {}
                None => return None,
            }
        }
        Some(self.hear_bytes(count).await)
    }

    /// Hears this many bytes; `None` where the connection ends first.
    pub async fn hear_some(&mut self, count: usize) -> Option<String> {
        while self.held.len() < count {
            if !matches!(self.read().await, Some(1..)) {
                return None;
            }
        }
        Some(self.hear_bytes(count).await)
    }

    /// Hears a request and its body, without its framing; `None` where the connection ends first.
    pub async fn hear_request(&mut self) -> Option<(String, String)> {
        if self.held.is_empty() && !matches!(self.read().await, Some(1..)) {
            return None;
        }
        let head = self.hear_head().await;
        let mut body = String::new();
        if field(&head, "transfer-encoding").is_none() {
            let length = field(&head, "content-length").map_or(0, |text| text.parse().unwrap());
            body = self.hear_bytes(length).await;
            return Some((head, body));
        }
        loop {
            let line = self.hear_until("\r\n").await;
            let size = usize::from_str_radix(line.trim_end(), 16).expect("a chunk's size");
            if size == 0 {
                while self.hear_until("\r\n").await != "\r\n" {}
                return Some((head, body));
            }
            body += &self.hear_bytes(size).await;
            assert_eq!(self.hear_bytes(2).await, "\r\n");
        }
    }

    /// Hears everything up to the end, a reset included.
    pub async fn hear_end(&mut self) -> String {
        while matches!(self.read().await, Some(1..)) {}
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }

    /// Hears everything up to the end, and how it ended.
    pub async fn hear_how_it_ends(&mut self) -> (String, End) {
        let end = loop {
            match self.read().await {
                None => break End::Reset,
                Some(0) => break End::Closed,
                Some(_) => {}
            }
        };
        (String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned(), end)
    }

    /// Bytes that are there to hear before the other end waits, counted and thrown away.
    pub async fn drink(&mut self) -> usize {
        let mut count = std::mem::take(&mut self.held).len();
        let mut room = vec![0; 64 * 1024];
        while let Some(more) =
            within(SOON, poll_fn(|cx| self.stream.poll_read(cx, &mut room))).await
        {
            let more = more.unwrap_or(0);
            count += more;
            if more == 0 {
                break;
            }
        }
        count
    }

    /// Says as much of `text` as the other end takes before it waits; how much that was.
    pub async fn pour(&mut self, text: &[u8]) -> usize {
        let mut written = 0;
        let wrote = poll_fn(|cx| poll_write_all(cx, &mut self.stream, text, &mut written));
        drop(within(SOON, wrote).await);
        written
    }

    /// Whether nothing comes within a second.
    pub async fn hears_nothing(&mut self) -> bool {
        let stream = &mut self.stream;
        let more = poll_fn(|cx| stream.poll_read_ready(cx));
        self.held.is_empty() && within(Duration::from_secs(1), more).await.is_none()
    }

    /// Sends a FIN and goes on listening.
    pub async fn half_close(&mut self) {
        let shut = poll_fn(|cx| self.stream.poll_shutdown(cx)).await;
        shut.expect("the in-memory network does not fail");
    }

    /// Resets the connection.
    pub fn reset(mut self) {
        self.stream.reset_on_close();
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

/// Long enough for everything that waits for nobody.
pub const SOON: Duration = Duration::from_millis(1);

/// What `work` gives within `wait`.
pub async fn within<T>(wait: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut timer = Timer::default();
    let until = now().after(wait);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.poll_until(cx, until).map(|()| None),
    })
    .await
}

/// Lets this much of the paused clock's time pass.
pub async fn pass(wait: Duration) {
    within(wait, std::future::pending::<()>()).await;
}

/// Measures the paused clock's time.
pub struct Clock(Moment);

impl Clock {
    pub fn start() -> Clock {
        Clock(now())
    }

    /// What has passed.
    pub fn passed(&self) -> Duration {
        now().since(self.0)
    }

    /// Asserts that exactly this much has passed; the driver's timers are good for a millisecond.
    pub fn has_passed(&self, expected: Duration) {
        let passed = now().since(self.0);
        let late = Duration::from_millis(3);
        assert!((expected..=expected + late).contains(&passed), "{passed:?}, not {expected:?}");
    }
}

/// The value of a field in a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A plain request for `path`.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n")
}

/// A plain answer with this body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// How many answers begin in `heard`.
pub fn answers(heard: &str) -> usize {
    heard.lines().filter(|line| line.starts_with("HTTP/1.1 ")).count()
}
