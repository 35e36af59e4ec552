//! PostgreSQL through a TCP listener, with its own clients: sessions that last, one connection for
//! each transaction, and a transaction that is open while its server is drained.

use crate::front::{BINARY, LIMIT, scrape};
use crate::tcp::{Folder, start};
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

/// Whom the servers run as where the tests run as root, which PostgreSQL refuses.
const NOBODY: u32 = 65_534;

/// A program of the newest PostgreSQL there is: Debian keeps the servers' off the path.
fn program(name: &str) -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = folders.map(|folder| folder.path().join("bin").join(name));
    let found = programs.filter(|path| path.exists()).max();
    found.expect("PostgreSQL is there: .ci/setup installs it")
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").expect("proc is there").uid() == 0
}

/// A server's program, as somebody who is not root.
fn unprivileged(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(folder);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A server with the tables of pgbench, which is ended with the test.
struct Postgres {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Postgres {
    fn start(folder: &Path) -> Postgres {
        std::fs::create_dir(folder).expect("a folder");
        if is_root() {
            chown(folder, Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut made = unprivileged("initdb", folder);
        made.args(["--username=test", "--auth=trust", "--no-locale", "--no-sync", "data"]);
        succeed(made.env("LC_ALL", "C"));
        let child = unprivileged("postgres", folder)
            .args(["-D", "data", "-h", "127.0.0.1", "-p", &port.to_string(), "-F"])
            .args(["-c", "unix_socket_directories=", "-c", "shared_buffers=16MB"])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).expect("a log"))
            .spawn()
            .expect("it starts");
        let server = Postgres { child, folder: folder.into(), port };
        let mut ready = Command::new(program("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        wait_until(LIMIT, || ready.status().expect("it starts").success());
        succeed(client("pgbench", port).args(["-i", "-q", "-n", "postgres"]));
        server
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many connections the gateway has to it.
    fn connections(&self, gateway: &Gateway) -> u64 {
        let label = format!(":{}\"", self.port);
        scrape(gateway).sum("endpoint_requests_in_flight", &[&label])
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed outright it would leave its shared memory behind.
        let pid = self.child.id().to_string();
        let told = unprivileged("pg_ctl", &self.folder).args(["kill", "QUIT", &pid]).status();
        if !told.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A client of the server, or of the gateway, on this port.
fn client(name: &str, port: u16) -> Command {
    let mut command = Command::new(program(name));
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "test"]);
    command
}

/// A session that is asked one thing after another.
struct Session {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Session {
    fn open(port: u16) -> Session {
        let mut child = client("psql", port)
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "postgres"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let input = child.stdin.take().expect("a pipe");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Session { child, input, lines }
    }

    /// The one line that these statements answer.
    fn ask(&mut self, statements: &str) -> String {
        writeln!(self.input, "{statements}").expect("it listens");
        self.lines.next().expect("it answers").expect("text")
    }

    fn server(&mut self) -> u16 {
        self.ask("SHOW port;").parse().expect("a port")
    }

    fn close(self) {
        let Session { mut child, input, .. } = self;
        drop(input);
        assert!(child.wait().expect("it ends").success());
    }
}

/// Transactions that read, so many of each of the clients.
struct Load(Child, u32);

impl Load {
    fn start(port: u16, clients: u32, each: u32, more: &[&str]) -> Load {
        let child = client("pgbench", port)
            .args(["-S", "-n", "-c", &clients.to_string(), "-t", &each.to_string()])
            .args(more)
            .arg("postgres")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        Load(child, clients * each)
    }

    /// Waits until all of them were made, and none failed.
    #[track_caller]
    fn ends_whole(self) {
        let output = self.0.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let all = format!("transactions actually processed: {0}/{0}\n", self.1);
        assert!(output.status.success() && said.contains(&all), "{said}");
    }
}

fn drain(gateway: &Gateway, endpoint: &str, more: &[&str]) {
    let admin = gateway.admin().to_string();
    let arguments = [&["drain", "bytes", endpoint, "--admin", &admin], more].concat();
    succeed(Command::new(BINARY).args(arguments).current_dir(gateway.folder()));
}

#[test]
fn postgresql_goes_on_while_an_endpoint_is_drained_and_stopped() {
    let folder = Folder::new("postgresql");
    let (first, second) = (folder.0.join("one"), folder.0.join("two"));
    let (one, two) = thread::scope(|scope| {
        let one = scope.spawn(|| Postgres::start(&first));
        let two = Postgres::start(&second);
        (one.join().expect("it starts"), two)
    });
    let (gateway, address) = start(&[one.address(), two.address()]);
    let port = address.port();
    let mut sessions = [(); 2].map(|()| Session::open(port));
    let at = sessions.iter_mut().position(|session| session.server() == one.port);
    let held = &mut sessions[at.expect("they take turns")];
    let begun = "BEGIN; CREATE TEMP TABLE kept (n int); INSERT INTO kept VALUES (1);";
    assert_eq!(held.ask(&format!("{begun} SELECT count(*) FROM kept;")), "1");
    // Connections that last, and a connection for each transaction.
    let long = Load::start(port, 8, 500, &[]);
    let short = Load::start(port, 4, 25, &["-C"]);
    wait_until(LIMIT, || one.connections(&gateway) > 4);

    drain(&gateway, &one.address(), &[]);
    for _ in 0..10 {
        let mut session = Session::open(port);
        assert_eq!(session.server(), two.port, "a new connection to who is drained");
        session.close();
    }
    // What was begun there goes on there.
    assert_eq!(held.ask("INSERT INTO kept VALUES (2); SELECT count(*) FROM kept;"), "2");
    assert_eq!(held.ask("COMMIT; SHOW port;"), one.port.to_string());
    long.ends_whole();
    short.ends_whole();
    assert_eq!(one.connections(&gateway), 1, "the session");
    sessions.into_iter().for_each(Session::close);
    drain(&gateway, &one.address(), &["--watch"]);
    assert_eq!(one.connections(&gateway), 0);
    drop(one);
    Load::start(port, 4, 10, &["-C"]).ends_whole();
    assert_eq!(scrape(&gateway).sum("failures_total", &["route=\"bytes\""]), 0);
}
