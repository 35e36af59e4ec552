//! A ZooKeeper that others have made, one server or three, and a client of other people's.

use crate::front::LIMIT;
use gatehouse_rig::wait_until;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The longest start of a server.
const START: Duration = Duration::from_secs(60);

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/zookeeper_peer.py");

/// Where Debian's package has it.
const CLASSES: &str = "/usr/share/java/zookeeper.jar";

/// What it needs for TLS, and does not name itself.
const MORE_CLASSES: [&str; 2] =
    ["/usr/share/java/netty-codec.jar", "/usr/share/java/netty-resolver.jar"];

/// Servers of one ensemble, on ports that stay theirs.
pub struct Ensemble {
    folder: PathBuf,
    servers: Vec<Server>,
}

struct Server {
    folder: PathBuf,
    port: u16,
    /// Words of Java's.
    java: Vec<String>,
    child: Option<Child>,
}

/// Ports nobody has just now.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    held.iter().map(|socket| socket.local_addr().expect("an address").port()).collect()
}

impl Ensemble {
    /// One server alone.
    pub fn one() -> Ensemble {
        Ensemble::start(1, "", &[])
    }

    /// Three of them.
    pub fn three() -> Ensemble {
        Ensemble::start(3, "", &[])
    }

    /// So many, with these further lines of configuration and words of Java's; `FOLDER` stands for
    /// the folder of each.
    pub fn start(count: usize, lines: &str, java: &[&str]) -> Ensemble {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gatehouse-zookeeper-{}-{next}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let ports = free_ports(count * 3);
        let quorum: String = (0..count)
            .filter(|_| count > 1)
            .map(|at| {
                let (peer, election) = (ports[count + at], ports[2 * count + at]);
                format!("server.{}=127.0.0.1:{peer}:{election}\n", at + 1)
            })
            .collect();
        let servers = (0..count).map(|at| {
            let own = folder.join(format!("server{}", at + 1));
            std::fs::create_dir_all(&own).expect("a folder");
            let (shown, port) = (own.display().to_string(), ports[at]);
            let lines = lines.replace("FOLDER", &shown);
            let config = format!(
                "tickTime=200\ninitLimit=50\nsyncLimit=25\ndataDir={shown}\nclientPort={port}\n\
                 clientPortAddress=127.0.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\n\
                 4lw.commands.whitelist=*\n{quorum}{lines}\n"
            );
            std::fs::write(own.join("zoo.cfg"), config).expect("written");
            std::fs::write(own.join("myid"), format!("{}\n", at + 1)).expect("written");
            let java = java.iter().map(|word| word.replace("FOLDER", &shown)).collect();
            Server { folder: own, port, java, child: None }
        });
        let mut ensemble = Ensemble { servers: servers.collect(), folder: folder.clone() };
        ensemble.start_all();
        ensemble
    }

    /// Starts those that do not run, and waits until they serve.
    #[track_caller]
    pub fn start_all(&mut self) {
        self.servers.iter_mut().for_each(Server::start);
        wait_until(START, || self.servers.iter().all(Server::serves));
    }

    /// Kills them all.
    pub fn kill_all(&mut self) {
        self.servers.iter_mut().for_each(Server::kill);
    }

    /// Kills the one that leads.
    pub fn kill_leader(&mut self) {
        let leads = |server: &Server| server.asked("srvr").contains("Mode: leader");
        let leader = self.servers.iter().position(leads).expect("somebody leads");
        self.servers[leader].kill();
    }

    /// Kills one that does not lead.
    pub fn kill_follower(&mut self) {
        let follows = |server: &Server| server.asked("srvr").contains("Mode: follower");
        let follower = self.servers.iter().position(follows).expect("somebody follows");
        self.servers[follower].kill();
    }

    /// `127.0.0.1:1,127.0.0.1:2`.
    pub fn hosts(&self) -> String {
        let each = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
        each.collect::<Vec<_>>().join(",")
    }

    /// Client connections that its servers have, but for the one that asks.
    pub fn connections(&self) -> usize {
        let all = self.servers.iter().map(|server| server.asked("cons"));
        all.map(|said| said.lines().filter(|line| line.contains("sid=0x")).count()).sum()
    }

    /// Sessions that live, connected or not; of one server alone.
    pub fn sessions(&self) -> usize {
        let said = self.servers[0].asked("dump");
        let lines = said.lines().skip_while(|line| !line.starts_with("Session Sets"));
        let lines = lines.take_while(|line| !line.starts_with("ephemeral nodes"));
        lines.filter(|line| line.trim_start().starts_with("0x")).count()
    }

    /// A client of other people's.
    #[track_caller]
    pub fn peer(&self, login: &[&str]) -> Peer {
        Peer::start(&self.hosts(), login)
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        self.kill_all();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Server {
    fn start(&mut self) {
        if self.child.is_some() {
            return;
        }
        assert!(Path::new(CLASSES).exists(), "zookeeper is not there: run .ci/setup");
        let log = File::create(self.folder.join("log")).expect("a file");
        let errors = log.try_clone().expect("a descriptor");
        let child = Command::new("java")
            .args(["-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg("-Dzookeeper.forceSync=no")
            .args(&self.java)
            .args(["-cp", &[&[CLASSES], &MORE_CLASSES[..]].concat().join(":")])
            .args(["org.apache.zookeeper.server.quorum.QuorumPeerMain"])
            .arg(self.folder.join("zoo.cfg"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("java is not there: run .ci/setup");
        self.child = Some(child);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    fn serves(&self) -> bool {
        self.asked("srvr").contains("Mode: ")
    }

    /// What it answers to a word of four letters.
    fn asked(&self, word: &str) -> String {
        let mut said = String::new();
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return said };
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        let asked = stream.write_all(word.as_bytes());
        let read = asked.and_then(|()| stream.read_to_string(&mut said));
        if read.is_ok() { said } else { String::new() }
    }
}

/// kazoo, told what to do.
pub struct Peer {
    child: Child,
    told: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Peer {
    fn start(hosts: &str, login: &[&str]) -> Peer {
        let has = Command::new("python3").args(["-c", "import kazoo"]).output();
        let has = has.is_ok_and(|output| output.status.success());
        assert!(has, "python3 has no kazoo: run .ci/setup, which installs it");
        let mut child = Command::new("python3")
            .args([PEER, hosts])
            .args(login)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut peer = Peer { told: child.stdin.take(), child, said };
        assert_eq!(peer.line(), "ready");
        peer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Has it do something; gives what it says.
    pub fn ask(&mut self, words: &[&str]) -> String {
        let line = words.iter().map(|word| word.replace('\n', "\\n")).collect::<Vec<_>>();
        let told = self.told.as_mut().expect("it runs");
        writeln!(told, "{}", line.join("\t")).expect("it reads");
        self.line()
    }

    /// The same, where it has to be done.
    #[track_caller]
    pub fn done(&mut self, words: &[&str]) -> String {
        let said = self.ask(words);
        let Some(said) = said.strip_prefix("ok") else { panic!("{words:?}: {said}") };
        said.trim_start().to_owned()
    }

    /// Has it die: its session outlives it.
    pub fn kill(mut self) {
        drop(self.child.kill());
    }

    /// The session that a node ends with; `None` where there is no node.
    pub fn owner(&mut self, path: &str) -> Option<String> {
        let said = self.done(&["stat", path]);
        said.split_once(' ').map(|(owner, _)| owner.to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Told to end, it closes its session, and its nodes go at once.
        self.told = None;
        drop(self.child.wait());
    }
}
