//! A request that is asked about.

use gatehouse_core::plan::Transport;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// What a question is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum About {
    /// A request.
    #[default]
    Request,
    /// A TCP connection: its host is the server name that its TLS asks for, or empty.
    Connection,
}

/// A request that is asked about, or a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which of the two.
    pub about: About,
    /// Its method.
    pub method: String,
    /// Host and port as the client writes them.
    pub authority: String,
    /// The port the client dials.
    pub port: u16,
    /// What lies beneath what it speaks.
    pub transport: Transport,
    /// Its path as sent.
    pub path: String,
    /// Its query without `?`.
    pub query: Option<String>,
    /// Its further fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Where it comes from.
    pub client: IpAddr,
    /// The listener it comes in by; `None` leaves that to the port.
    pub listener: Option<String>,
}

/// Why a question cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuestionFault {
    /// The method is no token.
    Method(String),
    /// The URL is not absolute, or no URL.
    Url(String),
    /// There is no listener of this name.
    Listener(String),
    /// The listener carries TCP, and a request was asked about.
    CarriesTcp(String),
    /// The listener speaks HTTP, or all do, and a TCP connection was asked about.
    SpeaksHttp(String),
}

impl fmt::Display for QuestionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuestionFault::Method(text) => write!(f, "\"{}\" is no method", text.escape_debug()),
            QuestionFault::Url(text) => {
                write!(f, "\"{}\" is no URL such as http://example.com/path", text.escape_debug())
            }
            QuestionFault::Listener(name) => {
                write!(f, "there is no listener called \"{}\"", name.escape_debug())
            }
            QuestionFault::CarriesTcp(name) => write!(
                f,
                "listener {name} carries TCP: ask about \"TCP tcp://host:port\", or \
                 \"TCP tls://name:port\" for a client of TLS"
            ),
            QuestionFault::SpeaksHttp(name) => {
                write!(f, "{name} speaks HTTP: ask about \"GET http://host/path\"")
            }
        }
    }
}

/// A request from the local machine, by its method and its URL; or a TCP connection, by `TCP` and
/// `tcp://host:port`, or `tls://name:port` where its TLS asks for that name.
///
/// # Errors
/// A method or a URL no client would send.
pub fn parse_request(method: &str, url: &str) -> Result<Question, QuestionFault> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if method.is_empty() || !method.bytes().all(token) {
        return Err(QuestionFault::Method(method.to_owned()));
    }
    let fault = || QuestionFault::Url(url.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(fault)?;
    let (transport, usual_port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (Transport::Clear, 80),
        "https" => (Transport::Tls, 443),
        "tcp" | "tls" if method == "TCP" => return connection(url, rest).ok_or_else(fault),
        _ => return Err(fault()),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    // A client keeps the fragment to itself.
    let target = target.split('#').next().unwrap_or("");
    let port = port_of(authority).unwrap_or(Some(usual_port)).ok_or_else(fault)?;
    let sendable = |byte: u8| byte > b' ' && byte != 0x7f;
    let plain = !authority.is_empty() && !authority.contains('@') && authority.is_ascii();
    if !plain || !url.bytes().all(sendable) {
        return Err(fault());
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    Ok(Question {
        about: About::Request,
        method: method.to_owned(),
        authority: authority.to_owned(),
        port,
        transport,
        path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        query,
        headers: Vec::new(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        listener: None,
    })
}

/// A TCP connection to the host and port of `url`.
fn connection(url: &str, authority: &str) -> Option<Question> {
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, _) = authority.rsplit_once(':')?;
    let port = port_of(authority)??;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.[]:".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) {
        return None;
    }
    let named = url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("tls:"));
    Some(Question {
        about: About::Connection,
        method: "TCP".to_owned(),
        authority: if named { authority.to_owned() } else { String::new() },
        port,
        transport: if named { Transport::Tls } else { Transport::Clear },
        path: "/".to_owned(),
        query: None,
        headers: Vec::new(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        listener: None,
    })
}

/// The port of an authority that has one; `Some(None)` where it is no port.
fn port_of(authority: &str) -> Option<Option<u16>> {
    let (_, port) = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'))?;
    Some(port.parse().ok().filter(|port| *port > 0))
}

/// The host of an authority: lower case, no port, no trailing dot.
pub(super) fn host_of(authority: &[u8]) -> Vec<u8> {
    let name = match authority.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if authority[at] == b':' => &authority[..at],
        _ => authority,
    };
    name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_as_a_client_does() {
        for (url, authority, port, path, query) in [
            ("http://a.example", "a.example", 80, "/", None),
            ("https://A.example:8443/x?y=1#z", "A.example:8443", 8443, "/x", Some("y=1")),
            ("http://[::1]/", "[::1]", 80, "/", None),
            ("http://[::1]:81?q", "[::1]:81", 81, "/", Some("q")),
            ("HTTP://a/%2e", "a", 80, "/%2e", None),
        ] {
            let question = parse_request("GET", url).unwrap();
            assert_eq!(question.authority, authority, "{url}");
            assert_eq!(question.port, port, "{url}");
            assert_eq!(question.path, path, "{url}");
            assert_eq!(question.query.as_deref(), query, "{url}");
        }
        for url in ["/x", "ftp://a/", "http:///x", "http://u@a/", "http://a b/", "http://a:0/"] {
            assert_eq!(parse_request("GET", url), Err(QuestionFault::Url(url.to_owned())));
        }
        assert!(parse_request("G T", "http://a/").is_err());
        for (url, authority, port) in [
            ("tcp://10.0.0.7:6379", "", 6379),
            ("tcp://[::1]:6379/", "", 6379),
            ("tls://DB.example.com:5432", "DB.example.com:5432", 5432),
        ] {
            let question = parse_request("TCP", url).unwrap();
            assert_eq!((&*question.authority, question.port), (authority, port), "{url}");
            assert_eq!(question.about, About::Connection);
            assert!(parse_request("GET", url).is_err(), "{url}");
        }
        for url in ["tcp://a", "tcp://:1", "tcp://a:0", "tcp://a:1/x", "tls://u@a:1", "http://a"] {
            assert!(parse_request("TCP", url).is_err() || url == "http://a", "{url}");
        }
        assert_eq!(host_of(b"A.Example.:80"), b"a.example");
        assert_eq!(host_of(b"[::1]:80"), b"[::1]");
    }
}
