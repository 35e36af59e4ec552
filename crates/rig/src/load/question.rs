//! What is asked, written out before the first request is sent.

use std::net::SocketAddr;

/// From one question to the next; prime to all counts of hosts and routes in use, so that every
/// question has its turn and neighbours in memory do not follow one another.
const STEP: usize = 7919;

/// What to ask for.
#[derive(Clone, Debug)]
pub struct Question {
    /// The path.
    pub path: String,
    /// Further field lines, each with its line end.
    pub fields: String,
    /// Bytes to upload, by POST; none is a GET.
    pub upload_bytes: usize,
    /// How long the answer's body must be; any length it promises where nothing is said.
    pub answer_bytes: Option<u64>,
    /// Over so many hosts, `h0.example.test` and so on; the address itself where none.
    pub hosts: usize,
    /// Over so many routes of each host: `/r0` and so on behind the path.
    pub routes: usize,
    /// What becomes of a connection.
    pub afterwards: Afterwards,
}

/// What becomes of a connection behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It is used again.
    Keep,
    /// The request says that it closes, and it is closed.
    Close,
}

impl Afterwards {
    /// It closes when either side says so.
    pub(super) fn or(self, other: Self) -> Self {
        if self == Self::Close { self } else { other }
    }
}

impl Question {
    /// Asks one host for `path`, over connections that are kept.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            fields: String::new(),
            upload_bytes: 0,
            answer_bytes: None,
            hosts: 0,
            routes: 0,
            afterwards: Afterwards::Keep,
        }
    }
}

/// Every request that may be sent.
pub(crate) struct Questions {
    texts: Vec<Box<[u8]>>,
    at: usize,
    pub answer_bytes: Option<u64>,
    afterwards: Afterwards,
}

impl Questions {
    pub fn of(question: &Question, to: SocketAddr) -> Self {
        let mut texts = Vec::new();
        for host in 0..question.hosts.max(1) {
            let authority = match question.hosts {
                0 => to.to_string(),
                _ => format!("h{host}.example.test"),
            };
            for route in 0..question.routes.max(1) {
                let suffix = match question.routes {
                    0 => String::new(),
                    _ => format!("/r{route}"),
                };
                texts.push(written(question, &authority, &suffix));
            }
        }
        let Question { answer_bytes, afterwards, .. } = *question;
        Self { texts, at: 0, answer_bytes, afterwards }
    }

    pub fn next(&mut self) -> usize {
        self.at = (self.at + STEP) % self.texts.len();
        self.at
    }

    pub fn text(&self, at: usize) -> &[u8] {
        &self.texts[at]
    }

    pub fn afterwards(&self) -> Afterwards {
        self.afterwards
    }
}

fn written(question: &Question, authority: &str, suffix: &str) -> Box<[u8]> {
    let Question { path, fields, upload_bytes, .. } = question;
    let method = if *upload_bytes > 0 { "POST" } else { "GET" };
    let length = match upload_bytes {
        0 => String::new(),
        bytes => format!("Content-Length: {bytes}\r\n"),
    };
    let close = match question.afterwards {
        Afterwards::Keep => "",
        Afterwards::Close => "Connection: close\r\n",
    };
    let head = format!(
        "{method} {path}{suffix} HTTP/1.1\r\nHost: {authority}\r\n{fields}{length}{close}\r\n"
    );
    let mut text = head.into_bytes();
    text.resize(text.len() + upload_bytes, b'u');
    text.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 80))
    }

    #[test]
    fn a_request_says_what_it_carries_and_whether_it_closes() {
        let mut question = Question::get("/p");
        let text = |question: &Question| {
            String::from_utf8(Questions::of(question, to()).text(0).to_vec()).expect("text")
        };
        assert_eq!(text(&question), "GET /p HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n");
        question.upload_bytes = 3;
        question.fields = "a: b\r\n".to_owned();
        question.afterwards = Afterwards::Close;
        let expected = "POST /p HTTP/1.1\r\nHost: 127.0.0.1:80\r\na: b\r\n\
                        Content-Length: 3\r\nConnection: close\r\n\r\nuuu";
        assert_eq!(text(&question), expected);
    }

    #[test]
    fn every_host_and_route_has_its_turn() {
        let question = Question { hosts: 7, routes: 3, ..Question::get("/p") };
        let mut questions = Questions::of(&question, to());
        let mut asked: Vec<usize> = (0..21).map(|_| questions.next()).collect();
        asked.sort_unstable();
        assert_eq!(asked, (0..21).collect::<Vec<_>>());
        assert!(questions.text(20).starts_with(b"GET /p/r2 HTTP/1.1\r\nHost: h6.example.test\r\n"));
    }
}
