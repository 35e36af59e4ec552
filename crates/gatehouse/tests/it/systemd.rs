//! A service manager's side: sockets that are handed over, by name, and the words it is told.

use crate::front::{BINARY, LIMIT, ended, get, refuse_to_start, request};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::script::Client;
use gatehouse_rig::wait_until;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};

/// What a manager does between fork and exec: descriptors from 3 on, and the process's own id.
const HAND_OVER: &str = r#"
fd=3
for each in $FROM; do eval "exec $fd<&$each $each<&-"; fd=$((fd + 1)); done
export LISTEN_PID=${WRONG_PID:-$$} LISTEN_FDS=$((fd - 3))
exec "$@"
"#;

/// The copies stand above whatever the shell uses itself.
const COPIES_FROM: i32 = 100;

/// The configuration names other ports than the sockets that are handed over.
const CONFIG: &str = "[admin]\nbind = \"127.0.0.1:0\"\n\
                      [listeners.web]\nbind = \"127.0.0.1:1\"\n\
                      [listeners.local]\nbind = \"unix:/nowhere/absent.sock\"\n";

/// A launch that is handed these, by these names.
fn handed(config: &str, sockets: &[impl AsFd], names: &str) -> (Launch, Vec<OwnedFd>) {
    let launch = Launch::new("bash", config);
    let copies: Vec<OwnedFd> = sockets
        .iter()
        .map(|socket| {
            let copy = fcntl_dupfd_cloexec(socket, COPIES_FROM).expect("a descriptor");
            fcntl_setfd(&copy, FdFlags::empty()).expect("a flag");
            copy
        })
        .collect();
    let from: Vec<String> = copies.iter().map(|copy| copy.as_raw_fd().to_string()).collect();
    let file = launch.folder().join("gatehouse.toml").display().to_string();
    let arguments = ["-c", HAND_OVER, "bash", BINARY, "run", "-c", &file];
    let launch = launch.arguments(arguments);
    (launch.variable("FROM", &from.join(" ")).variable("LISTEN_FDNAMES", names), copies)
}

fn answering(text: &str) -> String {
    format!("[[routes]]\nrespond = {{ body = \"{text}\" }}\n")
}

/// Asks over a stream that is connected already, and reads to the end.
#[track_caller]
fn ask(mut stream: UnixStream) -> String {
    use std::io::{Read, Write};
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    stream.write_all(request("GET", "/", "Connection: close\r\n").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn sockets_are_taken_by_the_names_of_their_listeners() {
    let folder = Launch::new(BINARY, "");
    let path = folder.folder().join("handed.sock");
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let local = UnixListener::bind(&path).expect("a path");
    let sockets = [local.as_fd(), web.as_fd()];
    let config = format!("{CONFIG}{}", answering("here"));
    let mut gateway = handed(&config, &sockets, "local:web").0.start();
    let address = web.local_addr().expect("an address");
    assert_eq!(gateway.listener("web"), address);
    gateway.expect_error_line(&format!("listening on unix:{} (local)", path.display()));
    assert_eq!(get(address, "/").text(), "here");
    assert!(ask(UnixStream::connect(&path).expect("connected")).ends_with("here"));
    assert_eq!(gateway.terminate().code(), Some(0));
    assert!(path.exists(), "whoever made the socket removes it");
}

#[test]
fn every_worker_takes_from_a_socket_that_was_handed_over() {
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = Origin::start("a").expect("a port");
    let config = format!(
        "workers = 3\n[listeners.web]\nbind = \":1\"\n{}",
        crate::front::routes(&[origin.address()])
    );
    let gateway = handed(&config, &[&web], "web").0.start();
    let mut clients: Vec<Client> =
        (0..60).map(|_| Client::connect(gateway.listener("web"))).collect();
    for client in &mut clients {
        client.send(request("GET", "/", "")).expect_status(200);
    }
}

#[test]
fn who_connects_between_two_processes_is_answered_by_the_second() {
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = web.local_addr().expect("an address");
    let start = |text: &str| {
        let config = format!("[listeners.web]\nbind = \":1\"\n{}", answering(text));
        handed(&config, &[&web], "web").0.start()
    };
    let mut early = Client::connect(address);
    early.send(request("GET", "/", "Connection: close\r\n"));
    let mut first = start("first");
    assert_eq!(early.expect_status(200).text(), "first");
    drop(early);
    assert_eq!(first.terminate().code(), Some(0));
    let mut between = Client::connect(address);
    between.send(request("GET", "/", ""));
    let second = start("second");
    assert_eq!(between.expect_status(200).text(), "second");
    drop(second);
}

#[test]
fn a_listener_that_was_handed_nothing_binds_its_own() {
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let config = format!(
        "[listeners.web]\nbind = \":1\"\n[listeners.own]\nbind = \"127.0.0.1:0\"\n{}",
        answering("here")
    );
    let gateway = handed(&config, &[&web], "web").0.start();
    assert_eq!(get(gateway.listener("own"), "/").text(), "here");
    assert_eq!(get(gateway.listener("web"), "/").text(), "here");
}

#[test]
fn what_is_handed_over_and_cannot_be_taken_is_refused() {
    let config = format!("[listeners.web]\nbind = \":0\"\n{}", answering("here"));
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let refusal = |sockets: &[std::os::fd::BorrowedFd<'_>], names: &str| {
        let (code, said) = ended(handed(&config, sockets, names).0.spawn());
        assert_eq!(code, Some(3), "{said}");
        said
    };
    let said = refusal(&[web.as_fd()], "door");
    assert!(said.contains("handed over as \"door\"") && said.contains("one of: web"), "{said}");
    let said = refusal(&[web.as_fd(), web.as_fd()], "web:web");
    assert!(said.contains("descriptor 4 was handed over as \"web\""), "{said}");
    let file = std::fs::File::open(BINARY).expect("a file");
    let said = refusal(&[file.as_fd()], "web");
    assert!(said.contains("descriptor 3") && said.contains("no listening socket"), "{said}");
    let connected = TcpStream::connect(web.local_addr().expect("an address")).expect("connected");
    let said = refusal(&[connected.as_fd()], "web");
    assert!(said.contains("no listening socket"), "{said}");
}

#[test]
fn descriptors_that_were_meant_for_another_process_are_left_alone() {
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let config = format!("[listeners.web]\nbind = \"127.0.0.1:0\"\n{}", answering("here"));
    let gateway = handed(&config, &[&web], "web").0.variable("WRONG_PID", "1").start();
    assert_ne!(gateway.listener("web"), web.local_addr().expect("an address"));
    assert_eq!(get(gateway.listener("web"), "/").text(), "here");
}

fn hears(manager: &UnixDatagram) -> String {
    manager.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let mut room = [0; 256];
    let count = manager.recv(&mut room).expect("a word");
    String::from_utf8_lossy(&room[..count]).into_owned()
}

/// A gateway that tells this manager, from its first word to its last.
fn tells(manager: &UnixDatagram, address: &str) {
    let config = "drain = \"7s\"\n[listeners.web]\nbind = \"127.0.0.1:0\"\n";
    let launch = Launch::new(BINARY, &format!("{config}{}", answering("here")));
    let mut gateway: Gateway = launch.variable("NOTIFY_SOCKET", address).start();
    assert_eq!(hears(manager), "READY=1");
    assert_eq!(get(gateway.listener("web"), "/").text(), "here");
    gateway.signal(Signal::Term);
    assert_eq!(hears(manager), "STOPPING=1\nEXTEND_TIMEOUT_USEC=12000000");
    assert_eq!(gateway.wait(LIMIT).code(), Some(0));
}

#[test]
fn a_manager_is_told_when_it_serves_and_when_it_ends() {
    let folder = Launch::new(BINARY, "");
    let path = folder.folder().join("notify");
    tells(&UnixDatagram::bind(&path).expect("a path"), &path.display().to_string());
    let name = format!("gatehouse-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let manager = UnixDatagram::bind_addr(&address).expect("an abstract socket");
    tells(&manager, &format!("@{name}"));
}

#[test]
fn a_start_that_fails_never_says_that_it_is_ready() {
    let folder = Launch::new(BINARY, "");
    let path = folder.folder().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a path");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let bind = taken.local_addr().expect("an address");
    let config = format!("[listeners.web]\nbind = \"{bind}\"\n{}", answering("here"));
    let launch = Launch::new(BINARY, &config);
    let launch = launch.variable("NOTIFY_SOCKET", &path.display().to_string());
    assert_eq!(ended(launch.spawn()).0, Some(3));
    manager.set_nonblocking(true).expect("a flag");
    assert!(manager.recv(&mut [0; 64]).is_err());
}

#[test]
fn a_manager_that_is_gone_is_no_reason_to_end() {
    let config = format!("[listeners.web]\nbind = \"127.0.0.1:0\"\n{}", answering("here"));
    let launch = Launch::new(BINARY, &config).variable("NOTIFY_SOCKET", "/nowhere/absent");
    let gateway = launch.start();
    gateway.expect_error_line("warn: NOTIFY_SOCKET /nowhere/absent");
    wait_until(LIMIT, || get(gateway.listener("web"), "/").status == 200);
    // Without descriptors a port of the configuration is bound, and fails as it always did.
    let (code, _) = refuse_to_start(&format!("{CONFIG}{}", answering("here")));
    assert_eq!(code, Some(3));
}
