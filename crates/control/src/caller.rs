//! Asks servers that say the same over HTTP/1.1, as those of one registry do: one after the other
//! until one answers, over a connection that is kept, or once for lines that go on coming.
//! Everything is bounded; what went wrong is told with the URL it was at. Never on the data path.

use crate::certificates::registry_side;
use crate::client::{Door, Ended, NoAnswer, pause, poll_piece, read_head, say, within};
use crate::config::{RegistryTls, Server};
use crate::dns::look_up;
use gatehouse_core::address::Address;
use gatehouse_core::message::{BodyLength, ResponseHead};
use gatehouse_wire::h1::Decoder;
use gatehouse_wire::tls::ClientSide;
use gatehouse_wire::{Buffers, Inbox, Net, Stream};
use std::fmt::{self, Write};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How long a connection may take, its name and its TLS handshake included.
const CONNECT_MOST: Duration = Duration::from_secs(5);

/// Addresses of one server that are tried.
const ADDRESSES_MAX: usize = 4;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// GET, PUT or POST.
    pub method: &'a str,
    /// The path, below the server's own, and the query.
    pub path: &'a str,
    /// Further fields. Their values have no line breaks.
    pub fields: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// How much of an answer is taken, and how long one may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub bytes_max: usize,
    pub most: Duration,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub head: ResponseHead,
    pub body: Vec<u8>,
}

impl Reply {
    /// Its body as text.
    pub fn text(&self) -> Result<&str, &'static str> {
        std::str::from_utf8(&self.body).map_err(|_| "its answer is no text")
    }

    /// A field of its head.
    pub fn field(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.head.fields.named_first(name.as_bytes())?).ok()
    }
}

/// Who was asked in vain, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered {
    pub url: Box<str>,
    pub why: String,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.why)
    }
}

/// Asks servers. Dropping it closes its connection.
pub(crate) struct Caller {
    net: Net,
    servers: Vec<Server>,
    /// Who is asked: the last that answered, until it does not.
    at: usize,
    tls: RegistryTls,
    /// Made of `tls` when it is needed, and anew once it was of no use.
    side: Option<ClientSide>,
    kept: Option<Link>,
}

/// One connection.
struct Link {
    stream: Stream,
    inbox: Inbox,
}

impl Caller {
    /// Asks these, beginning with the one at `first`.
    pub fn new(servers: Vec<Server>, first: usize, tls: RegistryTls) -> Caller {
        let at = first.checked_rem(servers.len()).unwrap_or(0);
        Caller { net: Net::System, servers, at, tls, side: None, kept: None }
    }

    /// The URL of who is asked.
    pub fn url(&self) -> &str {
        self.servers.get(self.at).map_or("", |server| &server.url)
    }

    /// Asks another server from now on: this one answers, but with nothing of use.
    pub fn turn_away(&mut self) {
        self.kept = None;
        self.at = (self.at + 1).checked_rem(self.servers.len()).unwrap_or(0);
    }

    /// Asks, and takes the whole answer: of the server that answered last, or else of the first
    /// of the others that answers.
    ///
    /// # Errors
    /// Why the last of them did not.
    pub async fn ask(
        &mut self,
        question: &Question<'_>,
        bounds: Bounds,
    ) -> Result<Reply, Unanswered> {
        if let Some(answered) = self.ask_kept(question, bounds).await {
            return answered;
        }
        let mut last = None;
        for _ in 0..self.servers.len() {
            let asked = match self.open().await {
                Ok(link) => {
                    let asked = self.ask_over(link, question, bounds).await;
                    asked.map_err(|why| self.unanswered(why))
                }
                Err(why) => Err(why),
            };
            match asked {
                Ok(reply) => return Ok(reply),
                Err(why) => last = Some(why),
            }
            self.turn_away();
        }
        Err(last.unwrap_or_else(|| Unanswered { url: "".into(), why: "no server".to_owned() }))
    }

    /// Asks over the connection that is kept; `None` where there is none, or it was closed while
    /// nobody looked: that says nothing of the server.
    pub async fn ask_kept(
        &mut self,
        question: &Question<'_>,
        bounds: Bounds,
    ) -> Option<Result<Reply, Unanswered>> {
        let link = self.kept.take()?;
        match self.ask_over(link, question, bounds).await {
            Err(NoAnswer::Closed) => None,
            Err(why) => Some(Err(self.unanswered(why))),
            Ok(reply) => Some(Ok(reply)),
        }
    }

    /// Asks the server that is asked now, over a connection of its own, for an answer that goes
    /// on: its head, and its lines as they come.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn listen(
        &mut self,
        question: &Question<'_>,
        most: Duration,
    ) -> Result<(u16, Lines), Unanswered> {
        let link = self.open().await?;
        let begun = within(most, self.begin(link, question)).await;
        begun.map_err(|why| self.unanswered(why))
    }

    async fn begin(
        &self,
        mut link: Link,
        question: &Question<'_>,
    ) -> Result<(u16, Lines), NoAnswer> {
        let request = self.request(question)?;
        say(&mut link.stream, &request).await?;
        let head = read_head(&mut link.stream, &mut link.inbox).await?;
        let decoder = Decoder::new(head.body);
        let (held, ended) = (Vec::new(), Ended::No);
        Ok((head.status, Lines { link, decoder, held, looked: 0, ended }))
    }

    fn unanswered(&self, why: impl fmt::Display) -> Unanswered {
        Unanswered { url: self.url().into(), why: why.to_string() }
    }

    async fn open(&mut self) -> Result<Link, Unanswered> {
        let Some(server) = self.servers.get(self.at) else {
            return Err(self.unanswered("there is no server"));
        };
        if let (None, Some(_)) = (&self.side, &server.tls) {
            let side = registry_side(&self.tls);
            self.side = Some(side.map_err(|why| self.unanswered(why))?);
        }
        let opened = within(CONNECT_MOST, self.dial(server)).await;
        if let Err(NoAnswer::Handshake(_)) = opened {
            // The files it was made of may have been replaced meanwhile.
            self.side = None;
        }
        opened.map_err(|why| self.unanswered(why))
    }

    async fn dial(&self, server: &Server) -> Result<Link, NoAnswer> {
        let (net, name, side) = (&self.net, server.tls.as_deref(), self.side.as_ref());
        let addresses = match &server.address {
            Address::Name { host, port } => {
                let found = look_up(host, *port).await.map_err(|_| NoAnswer::NoAddress)?;
                found.into_iter().take(ADDRESSES_MAX).map(Address::Ip).collect()
            }
            address => vec![address.clone()],
        };
        let mut last = NoAnswer::NoAddress;
        for address in &addresses {
            match (Door { net, address, name, first: b"", side }).open().await {
                Ok(stream) => return Ok(Link { stream, inbox: Inbox::new(Buffers::new()) }),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    async fn ask_over(
        &mut self,
        mut link: Link,
        question: &Question<'_>,
        Bounds { bytes_max, most }: Bounds,
    ) -> Result<Reply, NoAnswer> {
        let request = self.request(question)?;
        let reply = within(most, async {
            say(&mut link.stream, &request).await?;
            let head = read_head(&mut link.stream, &mut link.inbox).await?;
            let mut decoder = Decoder::new(head.body);
            let mut body = Vec::new();
            let Link { stream, inbox } = &mut link;
            loop {
                let ended =
                    poll_fn(|cx| poll_piece(cx, stream, inbox, &mut decoder, &mut body)).await?;
                if body.len() > bytes_max {
                    return Err(NoAnswer::Malformed("its answer is too long"));
                }
                if ended == Ended::Yes {
                    return Ok(Reply { head, body });
                }
            }
        })
        .await?;
        // What has come behind the answer belongs to no question.
        let clean = reply.head.keep_alive && reply.head.body != BodyLength::UntilClose;
        if clean && link.inbox.is_empty() {
            link.inbox.release_if_empty();
            self.kept = Some(link);
        }
        Ok(reply)
    }

    /// A question as it is sent.
    fn request(&self, question: &Question<'_>) -> Result<Vec<u8>, NoAnswer> {
        let Some(server) = self.servers.get(self.at) else { return Err(NoAnswer::Closed) };
        let Question { method, path, fields, body } = question;
        let mut text = format!(
            "{method} {}{path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: gatehouse/{}\r\n",
            server.base,
            server.authority,
            env!("CARGO_PKG_VERSION"),
        );
        for (name, value) in *fields {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if *method != "GET" {
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
        }
        text.push_str("\r\n");
        let mut request = text.into_bytes();
        request.extend_from_slice(body);
        Ok(request)
    }
}

/// Lets time pass after work for somebody who may have more at once: never less than `least`, and
/// as long as keeps the work at a tenth of a thread, up to a second.
pub(crate) async fn pace(least: Duration, worked: Duration) {
    const MOST: Duration = Duration::from_secs(1);
    pause(worked.saturating_mul(9).min(MOST).max(least)).await;
}

/// An answer that goes on, line by line.
pub(crate) struct Lines {
    link: Link,
    decoder: Decoder,
    held: Vec<u8>,
    /// Bytes of it that have no line feed.
    looked: usize,
    ended: Ended,
}

impl Lines {
    /// The next line, without its line feed; `None` where the answer has ended. After a timeout it
    /// can be asked again.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn next(&mut self, bounds: Bounds) -> Result<Option<Vec<u8>>, NoAnswer> {
        let Lines { link: Link { stream, inbox }, decoder, held, looked, ended } = self;
        within(bounds.most, async {
            loop {
                if let Some(at) = held[*looked..].iter().position(|byte| *byte == b'\n') {
                    let rest = held.split_off(*looked + at + 1);
                    let mut line = std::mem::replace(held, rest);
                    line.pop();
                    *looked = 0;
                    return Ok(Some(line));
                }
                *looked = held.len();
                if held.len() > bounds.bytes_max {
                    return Err(NoAnswer::Malformed("a line of its answer is too long"));
                }
                if *ended == Ended::Yes {
                    let last = std::mem::take(held);
                    *looked = 0;
                    return Ok((!last.is_empty()).then_some(last));
                }
                *ended = poll_fn(|cx| poll_piece(cx, stream, inbox, decoder, held)).await?;
            }
        })
        .await
    }

    /// The next line, where it is there already.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn next_held(&mut self, bounds: Bounds) -> Result<Option<Vec<u8>>, NoAnswer> {
        let mut next = pin!(self.next(bounds));
        poll_fn(|cx| match next.as_mut().poll(cx) {
            Poll::Ready(line) => Poll::Ready(line),
            Poll::Pending => Poll::Ready(Ok(None)),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_proxy::gate::block_on;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    const BOUNDS: Bounds = Bounds { bytes_max: 64, most: Duration::from_secs(10) };
    const QUESTION: Question<'static> =
        Question { method: "GET", path: "/x?y", fields: &[("X-A", "b")], body: b"" };
    const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    /// Gives these answers, those of one connection and then those of the next, and then says what
    /// it was asked.
    fn serve(connections: Vec<Vec<String>>) -> (Server, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let work = move || {
            let mut asked = Vec::new();
            for answers in connections {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut lines = BufReader::new(stream.try_clone().expect("it")).lines();
                for answer in answers {
                    let head = lines.by_ref().map_while(Result::ok);
                    let head: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
                    asked.push(head.join("|"));
                    stream.write_all(answer.as_bytes()).expect("somebody reads");
                }
            }
            asked
        };
        (at_address(at), std::thread::spawn(work))
    }

    fn at_address(at: std::net::SocketAddr) -> Server {
        let (url, authority) = (format!("http://{at}").into(), at.to_string().into());
        Server { url, address: Address::Ip(at), authority, base: "/base".into(), tls: None }
    }

    fn caller(servers: &[&Server]) -> Caller {
        let servers = servers.iter().map(|server| (*server).clone()).collect();
        Caller::new(servers, 0, RegistryTls::default())
    }

    /// Nobody listens there.
    fn nobody() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        at_address(listener.local_addr().expect("an address"))
    }

    fn text(reply: Result<Reply, Unanswered>) -> Result<String, String> {
        match reply {
            Ok(reply) => reply.text().map(str::to_owned).map_err(str::to_owned),
            Err(why) => Err(why.to_string()),
        }
    }

    #[test]
    fn a_connection_is_kept_and_one_that_was_closed_meanwhile_is_no_failure() {
        let good = || GOOD.to_owned();
        let (server, asked) = serve(vec![vec![good(), good()], vec![good()]]);
        let mut caller = caller(&[&server]);
        block_on(async {
            for _ in 0..3 {
                assert_eq!(text(caller.ask(&QUESTION, BOUNDS).await), Ok("ok".to_owned()));
            }
        })
        .expect("a runtime");
        let asked = asked.join().expect("no panic");
        let question = format!("GET /base/x?y HTTP/1.1|Host: {}|", server.authority);
        assert!(asked.iter().all(|one| one.starts_with(&question) && one.ends_with("|X-A: b")));
        assert_eq!(asked.len(), 3);
    }

    #[test]
    fn the_next_server_is_asked_and_the_last_one_is_told_of_where_none_answers() {
        let (server, asked) = serve(vec![vec![GOOD.to_owned()]]);
        let dead = nobody();
        let mut caller = caller(&[&dead, &server]);
        let answered = block_on(caller.ask(&QUESTION, BOUNDS)).expect("a runtime");
        assert_eq!(text(answered), Ok("ok".to_owned()));
        assert_eq!(caller.url(), &*server.url);
        asked.join().expect("no panic");
        let answered = block_on(caller.ask(&QUESTION, BOUNDS)).expect("a runtime");
        let why = text(answered).expect_err("nobody is there any more");
        assert_eq!(why, format!("{}: connection refused", dead.url));
    }

    #[test]
    fn answers_that_are_wrong_are_refused_and_their_connections_not_kept() {
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{}", "a".repeat(90));
        for (answer, why) in [
            (long.as_str(), "its answer is too long"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "closed before its answer ended"),
            ("nonsense\r\n\r\n", "no HTTP answer"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "no HTTP answer"),
        ] {
            let (server, asked) = serve(vec![vec![answer.to_owned()]]);
            let mut caller = caller(&[&server]);
            let said = text(block_on(caller.ask(&QUESTION, BOUNDS)).expect("a runtime"));
            let said = said.expect_err(answer);
            assert!(said.starts_with(&*server.url) && said.contains(why), "{said}");
            assert!(caller.kept.is_none());
            asked.join().expect("no panic");
        }
    }

    /// All lines of an answer with this body, and how they end.
    fn lines_of(body: &str) -> (Vec<String>, Option<NoAnswer>) {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (server, asked) = serve(vec![vec![format!("{head}{body}")]]);
        let mut caller = caller(&[&server]);
        let all = block_on(async {
            let (status, mut lines) =
                caller.listen(&QUESTION, BOUNDS.most).await.expect("an answer");
            assert_eq!(status, 200);
            let mut all = Vec::new();
            loop {
                match lines.next(BOUNDS).await {
                    Ok(Some(line)) => all.push(String::from_utf8(line).expect("text")),
                    Ok(None) => return (all, None),
                    Err(why) => return (all, Some(why)),
                }
            }
        });
        asked.join().expect("no panic");
        all.expect("a runtime")
    }

    #[test]
    fn lines_come_one_by_one_whatever_the_pieces_are() {
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let whole = "3\r\na\nb\r\n2\r\nc\n\r\n3\r\n\nd\n\r\n1\r\ne\r\n0\r\n\r\n";
        assert_eq!(lines_of(whole), (owned(&["a", "bc", "", "d", "e"]), None));
        assert_eq!(lines_of("2\r\na\n\r\n"), (owned(&["a"]), Some(NoAnswer::Closed)));
        let long = format!("2\r\na\n\r\n80\r\n{}\r\n", "b".repeat(128));
        let why = NoAnswer::Malformed("a line of its answer is too long");
        assert_eq!(lines_of(&long), (owned(&["a"]), Some(why)));
    }
}
