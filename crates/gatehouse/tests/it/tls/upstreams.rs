//! Endpoints under TLS: whom the gateway believes, and what it makes of those it does not.

use super::{Authority, provider};
use crate::front::{BINARY, DOORS, get, post, scrape};
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Client, Ending, Script, ScriptedOrigin};
use rcgen::{KeyPair, date_time_ymd};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What an origin has seen of one connection.
#[derive(Clone, Debug, Default)]
struct Seen {
    name: Option<String>,
    resumed: bool,
    certified: bool,
    requests: usize,
}

/// How an origin ends its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// With a length, again and again.
    Kept,
    /// With a length, once, and a close_notify.
    Once,
    /// By the end of the connection, with a close_notify.
    UntilClose,
    /// By the end of the socket alone.
    Cut,
    /// The same within a body of a known length.
    CutWithin,
}

/// An origin under TLS, rustls's own. It takes connections for as long as the test lives.
struct Origin {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Origin {
    fn start(config: ServerConfig, answers: Answers) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (config, kept) = (Arc::new(config), Arc::clone(&seen));
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let (config, kept) = (Arc::clone(&config), Arc::clone(&kept));
                std::thread::spawn(move || serve(socket, config, answers, &kept));
            }
        });
        Origin { address, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(socket: TcpStream, config: Arc<ServerConfig>, answers: Answers, kept: &Mutex<Vec<Seen>>) {
    let place = {
        let mut kept = kept.lock().unwrap();
        kept.push(Seen::default());
        kept.len() - 1
    };
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
    let mut room = [0; 4096];
    let mut text = Vec::new();
    while let Ok(count) = stream.read(&mut room) {
        if count == 0 {
            return;
        }
        text.extend_from_slice(&room[..count]);
        if !text.ends_with(b"\r\n\r\n") {
            continue;
        }
        text.clear();
        {
            let seen = &mut kept.lock().unwrap()[place];
            seen.name = stream.conn.server_name().map(str::to_owned);
            seen.resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
            seen.certified = stream.conn.peer_certificates().is_some();
            seen.requests += 1;
        }
        let answer: &[u8] = match answers {
            Answers::Kept => b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecure",
            Answers::Once => {
                b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecure"
            }
            Answers::UntilClose | Answers::Cut => b"HTTP/1.1 200 OK\r\n\r\nsecure",
            Answers::CutWithin => b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\nsecure",
        };
        stream.write_all(answer).unwrap();
        match answers {
            Answers::Kept => {}
            Answers::Once | Answers::UntilClose => {
                stream.conn.send_close_notify();
                drop(stream.flush());
                return;
            }
            Answers::Cut | Answers::CutWithin => return,
        }
    }
}

impl Authority {
    fn server(&self, name: &str) -> ServerConfig {
        let (chain, key) = self.pair(name);
        let builder = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        builder.with_no_client_auth().with_single_cert(chain, key).unwrap()
    }
}

/// A gateway in front of these endpoints, with what stands in `tls` besides the roots.
fn gateway(authority: &Authority, endpoints: &[String], tls: &str) -> Gateway {
    let list: Vec<String> = endpoints.iter().map(|each| format!("\"{each}\"")).collect();
    let roots = authority.path("ca.pem");
    let text = format!(
        "workers = 1\n{DOORS}[log]\naccess = {{ format = \"off\" }}\n\
         [[routes]]\nname = \"all\"\nupstream = \"all\"\n[upstreams.all]\n\
         endpoints = [{}]\ntls = {{ roots = \"{roots}\"{tls} }}\n",
        list.join(", ")
    );
    Gateway::start(BINARY, &text)
}

fn url(origin: &Origin) -> String {
    format!("https://{}", origin.address)
}

fn proxy_status(answer: &gatehouse_rig::script::Response) -> String {
    answer.field("proxy-status").unwrap_or_default().to_owned()
}

#[test]
fn an_endpoint_is_verified_asked_by_name_and_kept() {
    let authority = Authority::new();
    authority.sign("origin", &["secure.internal"]);
    let origin = Origin::start(authority.server("origin"), Answers::Kept);
    let gateway = gateway(&authority, &[url(&origin)], ", name = \"secure.internal\"");
    for _ in 0..10 {
        assert_eq!(get(gateway.listener("web"), "/").text(), "secure");
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 1, "a ticket is no reason to throw a connection away: {seen:?}");
    assert_eq!(seen[0].name.as_deref(), Some("secure.internal"));
    assert_eq!(seen[0].requests, 10);
}

#[test]
fn a_request_that_may_not_be_repeated_takes_a_kept_connection_too() {
    let authority = Authority::new();
    authority.sign("origin", &["127.0.0.1"]);
    let origin = Origin::start(authority.server("origin"), Answers::Kept);
    let gateway = gateway(&authority, &[url(&origin)], "");
    for _ in 0..5 {
        let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        Client::connect(gateway.listener("web")).send(text).expect_status(200);
    }
    assert_eq!(origin.seen().len(), 1, "{:?}", origin.seen());
}

#[test]
fn sessions_with_an_endpoint_are_resumed() {
    let authority = Authority::new();
    authority.sign("origin", &["127.0.0.1"]);
    let mut config = authority.server("origin");
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let origin = Origin::start(config, Answers::Once);
    let gateway = gateway(&authority, &[url(&origin)], "");
    for _ in 0..5 {
        assert_eq!(get(gateway.listener("web"), "/").text(), "secure");
    }
    let resumed: Vec<bool> = origin.seen().iter().map(|seen| seen.resumed).collect();
    assert_eq!(resumed, [false, true, true, true, true]);
}

#[test]
fn an_endpoint_that_asks_is_shown_a_certificate() {
    let authority = Authority::new();
    authority.sign("origin", &["127.0.0.1"]).sign("me", &["me"]);
    let (chain, key) = authority.pair("origin");
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::new(authority.roots()),
        Arc::new(provider()),
    )
    .build()
    .unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let origin = Origin::start(config, Answers::Kept);
    let me = format!(
        ", cert = \"{}\", key = \"{}\"",
        authority.path("me.pem"),
        authority.path("me.key")
    );
    let shown = gateway(&authority, &[url(&origin)], &me);
    assert_eq!(get(shown.listener("web"), "/").text(), "secure");
    assert!(origin.seen()[0].certified);
    let not = gateway(&authority, &[url(&origin)], "");
    assert_eq!(get(not.listener("web"), "/").status, 502);
}

#[test]
fn a_certificate_that_is_not_good_is_502_says_why_and_is_asked_for_once() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.sign("named", &["other.test"]);
    stranger.sign("strange", &["127.0.0.1"]);
    authority.sign_with("old", &["127.0.0.1"], KeyPair::generate().unwrap(), |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    for (config, why) in [
        (authority.server("named"), "it is for another name"),
        (stranger.server("strange"), "its issuer is not trusted"),
        (authority.server("old"), "it has expired"),
    ] {
        let origin = Origin::start(config, Answers::Kept);
        let gateway = gateway(&authority, &[url(&origin)], "");
        let answer = get(gateway.listener("web"), "/");
        assert_eq!(answer.status, 502);
        let status = proxy_status(&answer);
        assert!(status.contains("error=tls_certificate_error"), "{status}");
        assert!(status.contains(why), "{status}");
        assert_eq!(origin.seen().len(), 1, "{:?}", origin.seen());
        assert_eq!(origin.seen()[0].requests, 0, "nothing was sent to it");
    }
}

#[test]
fn an_endpoint_with_a_bad_certificate_gives_way_to_a_good_one() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.sign("good", &["127.0.0.1"]);
    stranger.sign("bad", &["127.0.0.1"]);
    let bad = Origin::start(stranger.server("bad"), Answers::Kept);
    let good = Origin::start(authority.server("good"), Answers::Kept);
    let gateway = gateway(&authority, &[url(&bad), url(&good)], "");
    for _ in 0..4 {
        assert_eq!(get(gateway.listener("web"), "/").text(), "secure");
    }
    assert!(!bad.seen().is_empty());
}

#[test]
fn nothing_is_sent_in_clear_to_an_endpoint_under_tls() {
    let authority = Authority::new();
    let answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let plain = ScriptedOrigin::each(Script::new().expect_bytes(1).send(answer).close());
    let gateway = gateway(&authority, &[format!("https://{}", plain.address())], "");
    let answer = get(gateway.listener("web"), "/");
    assert_eq!(answer.status, 502);
    let status = proxy_status(&answer);
    assert!(status.contains("error=tls_protocol_error"), "{status}");
    assert_eq!(plain.connections(), 1);
    assert_eq!(plain.seen(0).first(), Some(&22), "the first byte is that of a handshake");
}

#[test]
fn whoever_answers_is_believed_only_where_that_is_spelled_out() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    stranger.sign("strange", &["elsewhere.test"]);
    let origin = Origin::start(stranger.server("strange"), Answers::Kept);
    let text = format!(
        "{DOORS}[[routes]]\nupstream = {{ endpoints = [\"{}\"], \
         tls = {{ insecure-skip-verify = true }} }}\n",
        url(&origin)
    );
    let gateway = Gateway::start(BINARY, &text);
    assert_eq!(get(gateway.listener("web"), "/").text(), "secure");
    assert!(gateway.errors().join("\n").contains("believes whoever answers"));
    drop(authority);
}

#[test]
fn a_body_cut_off_without_close_notify_never_looks_whole() {
    let authority = Authority::new();
    authority.sign("origin", &["127.0.0.1"]);
    for (answers, whole) in
        [(Answers::UntilClose, true), (Answers::Cut, false), (Answers::CutWithin, false)]
    {
        let origin = Origin::start(authority.server("origin"), answers);
        let gateway = gateway(&authority, &[url(&origin)], "");
        let mut client = Client::connect(gateway.listener("web"));
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let (bytes, _) = client.read_rest();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.ends_with("\r\n0\r\n\r\n"), whole, "{answers:?}: {text}");
        let failures = scrape(&gateway).sum("failures_total", &["side=\"upstream\""]);
        assert_eq!(failures, u64::from(!whole), "{answers:?}: {text}");
        // To a client of HTTP/1.0 only the end of the connection tells the end.
        let mut client = Client::connect(gateway.listener("web"));
        client.offer("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
        if whole {
            let _ = client.read_rest();
        } else if answers == Answers::Cut {
            assert_eq!(client.read_rest().1, Ending::Reset);
        }
    }
}

#[test]
fn a_route_put_before_others_moves_nobodys_connections_under_tls() {
    let authority = Authority::new();
    authority.sign("origin", &["127.0.0.1"]);
    let origins: Vec<Origin> =
        (0..3).map(|_| Origin::start(authority.server("origin"), Answers::Kept)).collect();
    let roots = authority.path("ca.pem");
    let route = |at: usize| {
        format!(
            "[[routes]]\npath = \"/{at}/*\"\nupstream = {{ endpoints = [\"{}\"], \
             tls = {{ roots = \"{roots}\" }} }}\n",
            url(&origins[at])
        )
    };
    let text = |routes: &[usize]| {
        let routes: Vec<String> = routes.iter().map(|at| route(*at)).collect();
        format!("workers = 1\n{DOORS}{}", routes.concat())
    };
    let gateway = Gateway::start(BINARY, &text(&[1, 2]));
    let asks = |at: usize| get(gateway.listener("web"), &format!("/{at}/")).text();
    assert_eq!((asks(1), asks(2)), ("secure".to_owned(), "secure".to_owned()));
    gateway.reconfigure(&text(&[0, 1, 2]));
    let answer = post(gateway.admin(), "/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    for (at, origin) in origins.iter().enumerate() {
        assert_eq!(asks(at), "secure");
        assert_eq!(origin.seen().len(), 1, "{at}: {:?}", origin.seen());
    }
}
