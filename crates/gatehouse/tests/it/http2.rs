//! HTTP/2 end to end, spoken by curl: in clear by prior knowledge, under TLS by ALPN.

use crate::front::{BINARY, routes};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use std::path::PathBuf;
use std::process::Command;

const CLEAR: &str = "[listeners.web]\nbind = \"127.0.0.1:0\"\nprotocols = [\"h1\", \"h2\"]\n";

/// What curl says of a request: its standard output, which must be text.
#[track_caller]
fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20"])
        .args(arguments)
        .output()
        .expect("curl is there: .ci/setup installs it");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// A file of this many bytes that do not repeat, removed when the test ends.
struct Body(PathBuf);

impl Body {
    fn new(name: &str, bytes: usize) -> Body {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let body: String = (0..bytes / 10).map(|at| format!("{at:>9}\n")).collect();
        std::fs::write(&path, body).expect("the folder takes files");
        Body(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("text")
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[test]
fn curl_is_answered_over_http_2_in_clear() {
    let origin = Origin::start("one").unwrap();
    let gateway = Gateway::start(BINARY, &format!("{CLEAR}{}", routes(&[origin.address()])));
    let address = gateway.listener("web");
    let show = ["-o", "/dev/null", "-w", "%{http_version} %{http_code} %{size_download}"];
    for (version, shown) in [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1")] {
        let url = format!("http://{address}/bytes/3000000");
        let said = curl(&[&[version], &show[..], &[&url]].concat());
        assert_eq!(said, format!("{shown} 200 3000000"));
    }
}

#[test]
fn bodies_of_either_framing_arrive_whole() {
    let origin = Origin::start("one").unwrap();
    let gateway = Gateway::start(BINARY, &format!("{CLEAR}{}", routes(&[origin.address()])));
    let url = format!("http://{}/sink", gateway.listener("web"));
    let body = Body::new("gatehouse-http2-body", 3_000_000);
    let sent = format!("@{}", body.text());
    let plain = curl(&["--http1.1", "--data-binary", &sent, &url]);
    assert!(plain.contains("3000000"), "{plain}");
    // With a length, and without.
    let counted = ["--http2-prior-knowledge", "--data-binary", &sent, &url];
    assert_eq!(curl(&counted), plain);
    let chunked = ["--http2-prior-knowledge", "-X", "POST", "-H", "Content-Length:"];
    let chunked = [&chunked[..], &["--data-binary", &sent, &url]].concat();
    assert_eq!(curl(&chunked), plain);
}

/// h2load says how many requests succeeded, and of those that did not, how they failed.
#[test]
fn many_requests_share_a_connection() {
    let origin = Origin::start("one").unwrap();
    let gateway = Gateway::start(BINARY, &format!("{CLEAR}{}", routes(&[origin.address()])));
    let url = format!("http://{}/bytes/1000", gateway.listener("web"));
    let output = Command::new("h2load")
        .args(["-n", "3200", "-c", "4", "-m", "32", &url])
        .output()
        .expect("h2load is there: .ci/setup installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("3200 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("status codes: 3200 2xx"), "{said}");
}
