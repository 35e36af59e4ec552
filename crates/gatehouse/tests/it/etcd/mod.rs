//! An etcd that others have made, started here, killed, and asked to forget.

mod configuration;
mod endpoints;
mod relay;
mod trust;

use gatehouse_rig::wait_until;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The longest start.
const START: Duration = Duration::from_secs(30);

/// Ports nobody has just now.
fn free_port() -> u16 {
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    held.local_addr().expect("an address").port()
}

/// A folder with what an etcd keeps; it goes with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gatehouse-etcd-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// An etcd; it is killed with this.
struct Etcd {
    child: Child,
    url: String,
    /// What its tool is told of TLS and users.
    tool: Vec<String>,
}

impl Etcd {
    fn start(folder: &Path) -> Etcd {
        Etcd::start_at(folder, free_port(), &[])
    }

    /// Starts one at a port, with what the folder has.
    fn start_at(folder: &Path, port: u16, more: &[&str]) -> Etcd {
        let secured = more.iter().any(|flag| flag.starts_with("--cert-file"));
        let url = format!("{}://127.0.0.1:{port}", if secured { "https" } else { "http" });
        let peer = format!("http://127.0.0.1:{}", free_port());
        let child = Command::new("etcd")
            .args(["--name", "one", "--data-dir"])
            .arg(folder.join("data"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}"), "--unsafe-no-fsync"])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is not there: run .ci/setup, which installs it");
        let tool = match more.iter().find_map(|flag| flag.strip_prefix("--trusted-ca-file=")) {
            Some(roots) => {
                let pair = |name: &str| format!("{}/gateway.{name}", folder.display());
                vec![
                    format!("--cacert={roots}"),
                    format!("--cert={}", pair("pem")),
                    format!("--key={}", pair("key")),
                ]
            }
            None => Vec::new(),
        };
        let etcd = Etcd { child, url, tool };
        wait_until(START, || etcd.answers());
        etcd
    }

    fn tool(&self, words: &[&str]) -> Command {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--command-timeout=5s", "--dial-timeout=2s"]);
        command.arg(format!("--endpoints={}", self.url)).args(&self.tool).args(words);
        command
    }

    /// Whether it answers its own tool, if only by asking who that is.
    fn answers(&self) -> bool {
        let asked = self.tool(&["get", "nothing"]).output();
        let output = asked.expect("etcdctl is not there: run .ci/setup");
        let said = String::from_utf8_lossy(&output.stderr);
        output.status.success() || said.contains("user name is empty")
    }

    /// Has it ask who somebody is: `gate`, whose password is `hunter2`, may read below `/s/`, and
    /// its own tool is root from now on.
    fn guard(&mut self) {
        for words in [
            &["user", "add", "root:top"][..],
            &["user", "grant-role", "root", "root"],
            &["role", "add", "reader"],
            &["role", "grant-permission", "reader", "--prefix=true", "read", "/s/"],
            &["user", "add", "gate:hunter2"],
            &["user", "grant-role", "gate", "reader"],
            &["user", "add", "stranger:hunter3"],
            &["auth", "enable"],
        ] {
            self.ask(words);
        }
        self.be_root();
    }

    /// Has its own tool be root, which it has to be where it asks.
    fn be_root(&mut self) {
        self.tool.push("--user=root:top".to_owned());
    }

    /// Has its own tool do something.
    #[track_caller]
    fn ask(&self, words: &[&str]) -> String {
        let output = self.tool(words).output().expect("etcdctl");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}{errors}");
        said
    }

    #[track_caller]
    fn put(&self, key: &str, value: &str) {
        self.ask(&["put", key, value]);
    }

    fn port(&self) -> u16 {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Kills it; its folder stays.
    fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Forgets all but the newest revision.
    fn compact(&self) {
        let text = self.ask(&["get", "nothing", "-w", "json"]);
        let revision = text.split("\"revision\":").nth(1).expect("a revision");
        let digits: String = revision.chars().take_while(char::is_ascii_digit).collect();
        self.ask(&["compaction", &digits]);
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.end();
    }
}
