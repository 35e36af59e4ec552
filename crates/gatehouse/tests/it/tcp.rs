//! TCP carried through by the real binary: ends and resets as the kernel has them, TLS that is
//! passed through or terminated, and other people's clients and servers.

use crate::front::{BINARY, LIMIT, run, scrape};
use gatehouse_rig::process::Gateway;
use gatehouse_rig::script::{Client, Ending, Script, ScriptedOrigin};
use gatehouse_rig::wait_until;
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

/// A listener `bytes` of TCP in front of these endpoints.
fn config(endpoints: &[impl Display]) -> String {
    let list: Vec<String> = endpoints.iter().map(|each| format!("\"{each}\"")).collect();
    format!(
        "[admin]\nbind = \"127.0.0.1:0\"\n\
         [listeners.bytes]\nbind = \"127.0.0.1:0\"\nprotocols = [\"tcp\"]\n\
         [[routes]]\nname = \"bytes\"\nlisteners = [\"bytes\"]\nupstream = \"bytes\"\n\
         [upstreams.bytes]\nendpoints = [{}]\n",
        list.join(", ")
    )
}

/// A gateway that carries TCP to these endpoints, and where it listens for it.
pub fn start(endpoints: &[impl Display]) -> (Gateway, SocketAddr) {
    let gateway = Gateway::start(BINARY, &config(endpoints));
    let address = gateway.listener("bytes");
    (gateway, address)
}

#[test]
fn a_fin_ends_its_own_direction_alone() {
    let client_first = Script::new().expect_bytes(8).expect_end().send("answer").close();
    let origin_first = Script::new().send("banner").half_close().expect_bytes(8).expect_end();
    let origin = ScriptedOrigin::in_turn([client_first, origin_first]);
    let (gateway, address) = start(&[origin.address()]);
    let mut client = Client::connect(address);
    client.send("question").half_close();
    assert_eq!(client.read_rest(), (b"answer".to_vec(), Ending::End));
    let mut client = Client::connect(address);
    assert_eq!(client.read_rest(), (b"banner".to_vec(), Ending::End));
    client.send("question").half_close();
    origin.expect_done(2);
    gateway.expect_output_line("\"received\":8,\"sent\":6");
    wait_until(LIMIT, || gateway.output().len() == 2);
    // Two workers write their lines in any order.
    let ended = |by: &str| gateway.output().iter().any(|line| line.ends_with(by));
    assert!(ended("\"ended\":\"client\"}") && ended("\"ended\":\"upstream\"}"));
    assert_eq!(scrape(&gateway).sum("tcp_connections_total", &["route=\"bytes\""]), 2);
    assert_eq!(scrape(&gateway).sum("response_body_bytes_total", &["route=\"bytes\""]), 12);
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    let origin = ScriptedOrigin::in_turn([
        Script::new().send("hello"),
        Script::new().expect_bytes(5).send("hello").reset(),
    ]);
    let (_gateway, address) = start(&[origin.address()]);
    let mut client = Client::connect(address);
    assert_eq!(client.read_bytes(5), b"hello");
    client.reset();
    wait_until(LIMIT, || origin.ending(0).is_some());
    assert_eq!(origin.ending(0), Some(Ending::Reset));
    let mut client = Client::connect(address);
    // What was under way may be lost to it.
    assert_eq!(client.send("hello").read_rest().1, Ending::Reset);
}

#[test]
fn what_an_endpoint_said_before_it_hung_up_is_not_lost() {
    // It answers early, closes with bytes unread, and so resets: what it has said still counts.
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_gateway, address) = start(&[origin.local_addr().unwrap()]);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(&[b'x'; 1000]).unwrap();
    let (mut taken, _) = origin.accept().unwrap();
    taken.read_exact(&mut [0]).unwrap();
    taken.write_all(b"enough").unwrap();
    drop(taken);
    let mut heard = Vec::new();
    let _ = client.read_to_end(&mut heard);
    assert_eq!(heard, b"enough");
}

#[test]
fn nobody_is_answered_with_text_where_nobody_is_there() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (gateway, address) = start(&[dead]);
    for _ in 0..20 {
        // The reset may be there before connecting has ended.
        let Ok(mut client) = TcpStream::connect(address) else { continue };
        let wrote = client.write_all(b"GET / HTTP/1.1\r\n\r\n");
        let mut heard = Vec::new();
        let error = client.read_to_end(&mut heard).map_err(|error| error.kind());
        assert_eq!(heard, []);
        // A reset is told once: to whoever writes, if it is there by then.
        assert!(wrote.is_err() || error == Err(std::io::ErrorKind::ConnectionReset), "{error:?}");
    }
    // Accepting goes on, and the process too.
    wait_until(LIMIT, || scrape(&gateway).sum("failures_total", &["side=\"upstream\""]) == 20);
    assert_eq!(scrape(&gateway).sum("accept_errors_total", &[]), 0);
}

#[test]
fn an_endpoint_that_refuses_is_followed_by_one_that_does_not() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let origin = ScriptedOrigin::each(Script::new().send("hello").close());
    let (_gateway, address) = start(&[dead, origin.address()]);
    for _ in 0..4 {
        assert_eq!(Client::connect(address).read_rest(), (b"hello".to_vec(), Ending::End));
    }
}

/// Bytes of each direction of a large stream: enough for the kernel to move them by itself.
const MUCH: usize = 48 << 20;

fn piece(seed: usize) -> Vec<u8> {
    (0..1 << 16).map(|at| ((at * 31 + seed * 7) % 251) as u8).collect()
}

/// Writes [`MUCH`] and sends a FIN.
fn pour(stream: &TcpStream, seed: usize) {
    let (mut stream, piece) = (stream, piece(seed));
    for _ in 0..MUCH / piece.len() {
        stream.write_all(&piece).expect("room");
    }
    stream.shutdown(Shutdown::Write).expect("open");
}

/// Reads to the end, in bites of its own size, and holds every byte against what was poured.
fn drink(mut stream: &TcpStream, bite: usize, seed: usize) {
    let (piece, mut room, mut count) = (piece(seed), vec![0; bite.min(1 << 16)], 0);
    loop {
        let more = stream.read(&mut room).expect("it goes on");
        if more == 0 {
            return assert_eq!(count, MUCH, "bytes are missing, or too many");
        }
        let at = count % piece.len();
        let (head, tail) = room[..more].split_at(more.min(piece.len() - at));
        let same = *head == piece[at..at + head.len()] && *tail == piece[..tail.len()];
        assert!(same, "other bytes than were sent, after {count}");
        count += more;
    }
}

#[test]
fn much_passes_both_ways_at_once_and_nothing_is_changed() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_gateway, address) = start(&[origin.local_addr().unwrap()]);
    let client = TcpStream::connect(address).unwrap();
    let (taken, _) = origin.accept().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| pour(&client, 1));
        scope.spawn(|| pour(&taken, 2));
        scope.spawn(|| drink(&taken, 60_000, 1));
        drink(&client, 7_001, 2);
    });
}

#[test]
fn a_reader_that_sleeps_holds_back_its_sender_alone() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let (gateway, address) = start(&[origin.local_addr().unwrap()]);
    // Twice as many as there are pipes on one worker, none of which is read.
    let mut sleepers = Vec::new();
    let block = vec![b'x'; 1 << 20];
    for _ in 0..40 {
        let client = TcpStream::connect(address).unwrap();
        let (taken, _) = origin.accept().unwrap();
        taken.set_nonblocking(true).unwrap();
        let mut poured = 0;
        wait_until(LIMIT, || match (&taken).write(&block) {
            Ok(count) => {
                poured += count;
                false
            }
            Err(_) => {
                // Full once, and full still: the gateway has taken what it takes.
                thread::yield_now();
                (&taken).write(&block).map(|more| poured += more).is_err()
            }
        });
        assert!(poured < 64 << 20, "{poured} bytes are held for one that does not read");
        sleepers.push((client, taken));
    }
    let memory = gateway.resident_bytes();
    assert!(memory < 100 << 20, "{memory} bytes for 40 sleeping readers");
    let client = TcpStream::connect(address).unwrap();
    let (taken, _) = origin.accept().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| pour(&taken, 3));
        drink(&client, 65_536, 3);
    });
}

/// A process that is ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A TLS server that answers a line with its own name before it, and a client that checks the
/// certificate it is shown. Both send what TLS calls the end.
const TLS: &str = r#"
import socket, ssl, sys
what, name, folder = sys.argv[1:4]
if what == "serve":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/{name}.pem", f"{folder}/{name}.key")
    door = socket.create_server(("127.0.0.1", 0))
    print(door.getsockname()[1], flush=True)
    while True:
        try:
            with context.wrap_socket(door.accept()[0], server_side=True) as taken:
                line = taken.recv(100)
                if line: taken.sendall(name.encode() + b" " + line)
                taken.unwrap()
        except OSError: pass
context = ssl.create_default_context(cafile=f"{folder}/{name}.pem")
context.set_alpn_protocols(["something/1"])
taken = socket.create_connection(("127.0.0.1", int(sys.argv[4])), timeout=10)
with context.wrap_socket(taken, server_hostname=name) as taken:
    taken.sendall(b"hello")
    print(taken.recv(100).decode(), end="")
"#;

/// Certificates of their own for these names.
fn certificates(folder: &Path, names: &[&str]) {
    for name in names {
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}"), "-addext"])
            .args([&format!("subjectAltName=DNS:{name}"), "-keyout", &format!("{name}.key")])
            .args(["-out", &format!("{name}.pem")])
            .current_dir(folder)
            .output();
        let output = output.expect("openssl is there: .ci/setup installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Starts a server that says its port in its first line.
fn serve(program: &str, arguments: &[&str]) -> (Server, u16) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut line = String::new();
    let out = child.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("a port");
    (Server(child), line.trim().parse().expect("a port"))
}

fn ask_tls(name: &str, folder: &str, port: u16) -> (String, String) {
    let output = Command::new("python3")
        .args(["-c", TLS, "ask", name, folder, &port.to_string()])
        .output()
        .expect("python3 is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A folder that is removed with the test.
pub struct Folder(pub std::path::PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("gatehouse-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("a path that is text")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn tls_reaches_the_endpoint_of_its_name_and_is_not_decrypted() {
    let folder = Folder::new("passed-through");
    certificates(&folder.0, &["one.example", "two.example"]);
    let (_one, one) = serve("python3", &["-c", TLS, "serve", "one.example", folder.text()]);
    let (_two, two) = serve("python3", &["-c", TLS, "serve", "two.example", folder.text()]);
    let plain = ScriptedOrigin::each(Script::new().expect_bytes(5).send("plain").close());
    let route = |name: &str, host: &str, to: &dyn Display| {
        format!(
            "[[routes]]\nname = \"{name}\"\nlisteners = [\"bytes\"]\n{host}\n\
             upstream = {{ endpoints = [\"{to}\"] }}\n"
        )
    };
    let text = format!(
        "[listeners.bytes]\nbind = \"127.0.0.1:0\"\nprotocols = [\"tcp\"]\n{}{}{}",
        route("one", "host = \"one.example\"", &format!("127.0.0.1:{one}")),
        route("two", "host = [\"two.example\"]", &format!("127.0.0.1:{two}")),
        route("rest", "", &plain.address()),
    );
    let gateway = Gateway::start(BINARY, &text);
    let address = gateway.listener("bytes");
    for name in ["one.example", "two.example"] {
        let (said, error) = ask_tls(name, folder.text(), address.port());
        assert_eq!(said, format!("{name} hello"), "{error}");
    }
    let mut client = Client::connect(address);
    assert_eq!(client.send("hello").read_rest(), (b"plain".to_vec(), Ending::End));
    gateway.expect_output_line("\"host\":\"two.example\"");
}

#[test]
fn tls_ends_at_a_listener_that_has_certificates() {
    let folder = Folder::new("terminated");
    certificates(&folder.0, &["one.example"]);
    let script = Script::new().expect_bytes(5).send("in clear").expect_end().close();
    let origin = ScriptedOrigin::each(script);
    let tls = format!(
        "tls = {{ cert = \"{0}/one.example.pem\", key = \"{0}/one.example.key\" }}\n",
        folder.text()
    );
    let text = config(&[origin.address()]).replace("[[routes]]\n", &format!("{tls}[[routes]]\n"));
    let gateway = Gateway::start(BINARY, &text);
    let address = gateway.listener("bytes");
    let (said, error) = ask_tls("one.example", folder.text(), address.port());
    assert_eq!(said, "in clear", "{error}");
    origin.expect_done(1);
    // Whoever speaks in clear there is told nothing.
    let mut client = Client::connect(address);
    let (rest, _) = client.offer("GET / HTTP/1.1\r\nHost: a\r\n\r\n").read_rest();
    assert!(rest.is_empty() || rest[0] == 21, "no text, at most an alert: {rest:?}");
}

#[test]
fn redis_goes_on_while_an_endpoint_is_drained_and_stopped() {
    let redis = || {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--dir", &std::env::temp_dir().to_string_lossy()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is there: .ci/setup installs it");
        let server = Server(child);
        wait_until(LIMIT, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        (server, port)
    };
    let ((one, first), (_two, second)) = (redis(), redis());
    let (gateway, address) = start(&[format!("127.0.0.1:{first}"), format!("127.0.0.1:{second}")]);
    let port = address.port().to_string();
    // Connections that last, and connections of one request each.
    let bench = |requests: &str, keep: &str| {
        Command::new("redis-benchmark")
            .args([
                "-p",
                &port,
                "-n",
                requests,
                "-c",
                "20",
                "-k",
                keep,
                "-t",
                "set,get,lpush",
                "-q",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("redis-benchmark is there: .ci/setup installs it")
    };
    let (long, short) = (bench("30000", "1"), bench("1500", "0"));
    wait_until(LIMIT, || {
        scrape(&gateway).sum("endpoint_requests_in_flight", &[&format!(":{first}\"")]) > 5
    });
    let (endpoint, admin) = (format!("127.0.0.1:{first}"), gateway.admin().to_string());
    let arguments = ["drain", "bytes", &endpoint, "--watch", "--admin", &admin];
    let output = run(&arguments, gateway.folder());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    drop(one);
    let given = || scrape(&gateway).sum("endpoint_requests_total", &[&format!(":{first}\"")]);
    let before = given();
    for done in [long, short, bench("5000", "1")] {
        let output = done.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.contains("LPUSH"), "{said}");
        assert!(!said.to_lowercase().contains("error"), "{said}");
    }
    assert_eq!(given(), before, "a connection to who is drained");
    assert_eq!(scrape(&gateway).sum("failures_total", &["route=\"bytes\""]), 0);
}
