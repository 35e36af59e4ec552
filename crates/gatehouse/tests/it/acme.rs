//! Certificates by ACME, of an authority that others have made: Pebble, with names that a resolver
//! of its own knows.

use crate::front::{BINARY, LIMIT, ask_admin, get, scrape};
use crate::tls::{Authority, Secure, provider};
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::wait_until;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// The longest wait for a certificate.
const WAIT: Duration = Duration::from_secs(40);

/// Ports nobody has just now.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    held.map(|socket| socket.local_addr().expect("an address").port())
}

/// An authority that listens on ports that were chosen before, so that a gateway may ask for it
/// while it is away.
struct Place {
    authority: Authority,
    port: u16,
    management: u16,
    dns: u16,
}

/// One that runs.
struct Pebble {
    children: [Child; 2],
    log: Arc<Mutex<Vec<String>>>,
}

impl Place {
    fn new() -> Place {
        let authority = Authority::new();
        authority.sign("pebble", &["localhost"]);
        let [port, management, dns] = free_ports();
        Place { authority, port, management, dns }
    }

    /// Starts it; it comes back to these ports, and gives certificates for so many seconds.
    fn start(&self, http: u16, tls: u16, seconds: u32, bad_nonces: u32) -> Pebble {
        let (cert, key) = (self.authority.path("pebble.pem"), self.authority.path("pebble.key"));
        let Place { port, management, dns, .. } = self;
        self.authority.put(
            "pebble.json",
            &format!(
                "{{\"pebble\": {{\"listenAddress\": \"127.0.0.1:{port}\", \
                 \"managementListenAddress\": \"127.0.0.1:{management}\", \
                 \"certificate\": \"{cert}\", \"privateKey\": \"{key}\", \"httpPort\": {http}, \
                 \"tlsPort\": {tls}, \"certificateValidityPeriod\": {seconds}}}}}"
            ),
        );
        let dns = format!("127.0.0.1:{dns}");
        let resolver = Command::new("pebble-challtestsrv")
            .args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-management", "", "-dns01", &dns])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let config = self.authority.path("pebble.json");
        let mut server = Command::new("pebble")
            .args(["-strict", "-config", &config, "-dnsserver", &dns])
            .env("PEBBLE_WFE_NONCEREJECT", bad_nonces.to_string())
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("pebble is not there: run .ci/setup, which installs it");
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let (out, lines) = (server.stdout.take().expect("a pipe"), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                lines.lock().expect("no panic").push(line);
            }
        });
        let pebble = Pebble { children: [server, resolver.expect("it came with pebble")], log };
        wait_until(LIMIT, || pebble.said("ACME directory available"));
        pebble
    }

    /// `{ acme = … }` of this authority, spoken to at `port`.
    fn entry_at(&self, port: u16, more: &str) -> String {
        let (roots, storage) =
            (self.authority.path("ca.pem"), self.storage().display().to_string());
        format!(
            "{{ acme = {{ email = \"ops@shop.test\", directory = \"https://localhost:{port}/dir\", \
             roots = \"{roots}\", storage = \"{storage}\"{more} }} }}"
        )
    }

    fn entry(&self, more: &str) -> String {
        self.entry_at(self.port, more)
    }

    fn storage(&self) -> PathBuf {
        self.authority.folder.join("state/acme")
    }

    /// A client that believes what it signs.
    fn client(&self) -> Arc<ClientConfig> {
        let to = SocketAddr::from(([127, 0, 0, 1], self.management));
        let mut asked = Secure::connect(to, "localhost", &Arc::new(self.authority.client()));
        let answer = asked.ask("GET /roots/0 HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a root");
        let root = CertificateDer::from_pem_slice(answer.as_bytes()).expect("PEM");
        let mut roots = RootCertStore::empty();
        roots.add(root).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .expect("versions");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

impl Pebble {
    fn said(&self, text: &str) -> bool {
        self.count(text) > 0
    }

    fn count(&self, text: &str) -> usize {
        let log = self.log.lock().expect("no panic");
        log.iter().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A gateway in front of nobody, with a listener in clear and one under TLS.
fn config(entry: &str) -> String {
    format!(
        "[admin]\nbind = \"127.0.0.1:0\"\n[log]\naccess = {{ format = \"off\" }}\n\
         [listeners.plain]\nbind = \"127.0.0.1:0\"\n\
         [listeners.web]\nbind = \"127.0.0.1:0\"\ntls = {entry}\n\
         [[routes]]\nlisteners = [\"plain\"]\n\
         redirect = {{ to = \"https://$host$path\", status = 308 }}\n\
         [[routes]]\nlisteners = [\"web\"]\nhost = \"shop.test\"\nrespond = {{ body = \"hello\" }}\n"
    )
}

/// Whether a client that believes these roots is answered.
fn serves(gateway: &Gateway, name: &str, client: &Arc<ClientConfig>) -> bool {
    let answer = Secure::connect(gateway.listener("web"), name, client).get(name);
    answer.is_ok_and(|answer| answer.ends_with("hello"))
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o777
}

/// Everything below a folder, and the folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(below(&path)),
            path => all.push(path),
        }
    }
    all
}

#[test]
fn a_certificate_comes_by_a_handshake_once_the_authority_is_there_and_is_kept() {
    let place = Place::new();
    let text = config(&place.entry(", challenges = \"tls-alpn-01\""));
    let mut gateway = Gateway::start(BINARY, &text);
    // It serves while nobody can be asked, with a certificate that nobody believes.
    gateway.expect_error_line("connection refused; clients are shown one that signs itself");
    let client = Arc::new(place.authority.client());
    let refused = Secure::connect(gateway.listener("web"), "shop.test", &client).get("shop.test");
    assert!(refused.unwrap_err().to_string().contains("UnknownIssuer"));
    let web = gateway.listener("web").port();
    // A third of all nonces is refused.
    let pebble = place.start(free_ports::<1>()[0], web, 3600, 33);
    gateway.expect_error_line("acme: shop.test: a certificate for 0 days has come");
    let client = place.client();
    wait_until(LIMIT, || serves(&gateway, "shop.test", &client));
    let counted = scrape(&gateway);
    assert!(counted.sum("tls_handshakes_total", &["end=\"challenge\""]) > 0);
    let until = counted.sum("acme_not_after_seconds", &["name=\"shop.test\""]);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((now + 3000..now + 3700).contains(&until), "{until}");
    let status = ask_admin(gateway.admin(), "/status").text();
    assert!(status.contains("\"certificate\": \"valid\""), "{status}");
    for path in below(&place.storage()) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    // Neither a reload nor another start asks again.
    gateway.signal(Signal::Hup);
    gateway.expect_error_line("reloaded");
    assert!(serves(&gateway, "shop.test", &client));
    gateway.terminate();
    let orders = pebble.count("POST /order-plz");
    let again = Gateway::start(BINARY, &text);
    assert!(serves(&again, "shop.test", &client), "from its first connection on");
    wait_until(LIMIT, || scrape(&again).0.contains("acme_not_after_seconds"));
    assert_eq!(pebble.count("POST /order-plz"), orders);
}

#[test]
fn a_certificate_comes_by_a_request_in_clear_that_goes_before_all_routes() {
    let place = Place::new();
    let text = config(&place.entry(", challenges = \"http-01\""));
    let gateway = Gateway::start(BINARY, &text);
    let plain = gateway.listener("plain");
    let pebble = place.start(plain.port(), free_ports::<1>()[0], 3600, 5);
    gateway.expect_error_line("acme: shop.test: a certificate");
    let client = place.client();
    wait_until(LIMIT, || serves(&gateway, "shop.test", &client));
    // Whoever asks for a token that is none is redirected like everybody.
    assert_eq!(get(plain, "/.well-known/acme-challenge/other").status, 308);
    assert_eq!(pebble.count("POST /order-plz"), 1);
    // A name that a reload brings is asked for too.
    gateway.reconfigure(&text.replace("\"shop.test\"", "\"late.test\""));
    gateway.signal(Signal::Hup);
    gateway.expect_error_line("acme: late.test: a certificate");
    wait_until(LIMIT, || serves(&gateway, "late.test", &client));
}

#[test]
fn the_other_proof_is_tried_where_the_first_fails() {
    let place = Place::new();
    let gateway = Gateway::start(BINARY, &config(&place.entry("")));
    let plain = gateway.listener("plain");
    // It comes back for the handshake where nobody listens.
    let pebble = place.start(plain.port(), free_ports::<1>()[0], 3600, 0);
    gateway.expect_error_line("acme: shop.test: a certificate");
    assert_eq!(pebble.count("POST /order-plz"), 2);
    let client = place.client();
    wait_until(LIMIT, || serves(&gateway, "shop.test", &client));
}

#[test]
fn a_name_that_cannot_be_proved_says_why_and_is_not_asked_for_at_once() {
    let place = Place::new();
    let gateway = Gateway::start(BINARY, &config(&place.entry("")));
    let [http, tls] = free_ports();
    let pebble = place.start(http, tls, 3600, 0);
    gateway.expect_error_line("http-01: connection: ");
    let told = gateway.errors();
    let line = told.iter().find(|line| line.contains("http-01: connection: ")).expect("a line");
    assert!(line.contains("tls-alpn-01: ") && line.ends_with(" min"), "{line}");
    assert_eq!(pebble.count("POST /order-plz"), 2);
    let status = ask_admin(gateway.admin(), "/status").text();
    assert!(status.contains("\"certificate\": \"none\""), "{status}");
    assert!(status.contains("\"last_failure\": \"tls-alpn-01: "), "{status}");
}

#[test]
fn a_certificate_is_renewed_before_it_ends_and_no_connection_is_dropped() {
    let place = Place::new();
    let gateway = Gateway::start(BINARY, &config(&place.entry("")));
    let _pebble = place.start(free_ports::<1>()[0], gateway.listener("web").port(), 24, 5);
    gateway.expect_error_line("acme: shop.test: a certificate");
    let client = place.client();
    wait_until(LIMIT, || serves(&gateway, "shop.test", &client));
    let shown = || {
        let mut asked = Secure::connect(gateway.listener("web"), "shop.test", &place.client());
        asked.get("shop.test").expect("a certificate that is good");
        asked.0.conn.peer_certificates().expect("a chain")[0].to_vec()
    };
    let mut kept = Secure::connect(gateway.listener("web"), "shop.test", &client);
    kept.get("shop.test").expect("an answer");
    let first = shown();
    // Every new connection on the way is under one that is good.
    wait_until(WAIT, || shown() != first);
    assert!(kept.get("shop.test").expect("it is still there").ends_with("hello"));
}

#[test]
fn an_authority_that_limits_is_asked_again_when_it_says_and_not_before() {
    let place = Place::new();
    place.authority.sign("front", &["localhost"]);
    let front = |more: &str| {
        format!(
            "[log]\naccess = {{ format = \"off\" }}\n[listeners.web]\nbind = \"127.0.0.1:0\"\n\
             tls = {}\n{more}[[routes]]\nupstream = \"authority\"\n\
             [upstreams.authority]\nendpoints = [\"https://127.0.0.1:{}\"]\n\
             tls = {{ name = \"localhost\", roots = \"{}\" }}\n",
            place.authority.entry("front", ""),
            place.port,
            place.authority.path("ca.pem"),
        )
    };
    let limit = "[[routes]]\npath = \"/order-plz\"\n\
         response-headers = { set = { retry-after = \"4\" } }\n\
         respond = { status = 429, content-type = \"application/problem+json\", \
         body = '{\"type\": \"urn:ietf:params:acme:error:rateLimited\", \"detail\": \"too many\"}' }\n";
    let limited = Launch::new(BINARY, &front(limit)).start();
    let entry = place.entry_at(limited.listener("web").port(), "");
    let gateway = Gateway::start(BINARY, &config(&entry));
    let pebble = place.start(free_ports::<1>()[0], gateway.listener("web").port(), 3600, 0);
    gateway.expect_error_line("rateLimited: too many");
    let since = Instant::now();
    limited.reconfigure(&front(""));
    limited.signal(Signal::Hup);
    gateway.expect_error_line("acme: shop.test: a certificate");
    // The line is seen a little after it was written.
    assert!(since.elapsed() > Duration::from_millis(3500), "{:?}", since.elapsed());
    assert_eq!(pebble.count("POST /order-plz"), 1);
}
