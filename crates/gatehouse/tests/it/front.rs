//! What the tests here share: configurations, plain requests, and the counters as they are scraped.

use gatehouse_rig::process::{Gateway, Launch};
use gatehouse_rig::script::{Client, Response};
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

/// The gateway.
pub const BINARY: &str = env!("CARGO_BIN_EXE_gatehouse");

/// The longest wait for anything that is to happen.
pub const LIMIT: Duration = Duration::from_secs(10);

/// An admin interface and one listener, `web`, on free ports; routes are up to the test.
pub const DOORS: &str =
    "[admin]\nbind = \"127.0.0.1:0\"\n[listeners.web]\nbind = \"127.0.0.1:0\"\n";

/// Everything goes to these endpoints, and nothing is logged.
pub fn config(endpoints: &[SocketAddr]) -> String {
    format!("{DOORS}[log]\naccess = {{ format = \"off\" }}\n{}", routes(endpoints))
}

/// One route to one upstream with these endpoints.
pub fn routes(endpoints: &[impl Display]) -> String {
    let list: Vec<String> = endpoints.iter().map(|each| format!("\"{each}\"")).collect();
    format!(
        "[[routes]]\nname = \"all\"\nupstream = \"all\"\n[upstreams.all]\nendpoints = [{}]\n",
        list.join(", ")
    )
}

/// A gateway in front of these endpoints.
#[track_caller]
pub fn start(endpoints: &[SocketAddr]) -> Gateway {
    Gateway::start(BINARY, &config(endpoints))
}

/// Starts the gateway where it is to fail: its exit code and what it said.
#[track_caller]
pub fn refuse_to_start(config: &str) -> (Option<i32>, String) {
    ended(Launch::new(BINARY, config).spawn())
}

/// The exit code of a process that ends on its own, and what it said.
#[track_caller]
pub fn ended(mut gateway: Gateway) -> (Option<i32>, String) {
    let code = gateway.wait(LIMIT).code();
    (code, gateway.errors().join("\n"))
}

/// Runs a command that ends on its own.
#[track_caller]
pub fn run(arguments: &[&str], folder: &Path) -> Output {
    Command::new(BINARY).args(arguments).current_dir(folder).output().expect("it starts")
}

/// The text of a request without a body.
pub fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

/// Asks over a connection of its own.
#[track_caller]
pub fn get(address: SocketAddr, target: &str) -> Response {
    get_over(&mut Client::connect(address), target)
}

/// Asks over this connection.
#[track_caller]
pub fn get_over(client: &mut Client, target: &str) -> Response {
    client.send(request("GET", target, "")).read_response()
}

/// Asks the admin interface.
#[track_caller]
pub fn ask_admin(admin: SocketAddr, target: &str) -> Response {
    let text = format!("GET {target} HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    Client::connect(admin).send(text).read_response()
}

/// Posts to the admin interface.
#[track_caller]
pub fn post(admin: SocketAddr, target: &str, fields: &str) -> Response {
    let text = format!("POST {target} HTTP/1.1\r\nHost: {admin}\r\n{fields}\r\n");
    Client::connect(admin).send(text).read_response()
}

/// The counters as they are now.
#[track_caller]
pub fn scrape(gateway: &Gateway) -> Samples {
    let answer = ask_admin(gateway.admin(), "/metrics");
    assert_eq!(answer.status, 200);
    Samples(answer.text())
}

/// A scrape's text.
pub struct Samples(pub String);

impl Samples {
    /// The sum of all series of a family whose labels hold all of `labels`, as they are written:
    /// `status="2xx"`.
    #[track_caller]
    pub fn sum(&self, family: &str, labels: &[&str]) -> u64 {
        let name = format!("gatehouse_{family}");
        // A name that is not there would be a sum of nothing, and prove nothing.
        let series = ["_count", "_sum", "_bucket"].iter().find_map(|end| name.strip_suffix(end));
        let declared = format!("# TYPE {} ", series.unwrap_or(&name));
        assert!(self.0.contains(&declared), "no family {family} in\n{}", self.0);
        let lines = self.0.lines().filter(|line| {
            let rest = line.strip_prefix(&name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        lines.map(|line| Self::value(line)).sum()
    }

    #[track_caller]
    fn value(line: &str) -> u64 {
        let value = line.rsplit(' ').next().and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no whole number at the end of {line:?}"))
    }
}
