//! HTTP/2 end to end, spoken by curl: in clear by prior knowledge, under TLS by ALPN.

use crate::front::{BINARY, LIMIT, routes, scrape};
use crate::tls::Authority;
use gatehouse_rig::origin::Origin;
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;
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
    // An offer to leave HTTP/1.1 for HTTP/2 (RFC 7540 section 3.2) is not taken, and answered.
    for (version, shown) in
        [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1"), ("--http2", "1.1")]
    {
        let url = format!("http://{address}/bytes/3000000");
        let said = curl(&[&[version], &show[..], &[&url]].concat());
        assert_eq!(said, format!("{shown} 200 3000000"));
    }
}

#[test]
fn names_with_an_underscore_that_the_gateway_sets_are_dropped_in_either_version() {
    let origin = Origin::start("one").unwrap();
    let gateway = Gateway::start(BINARY, &format!("{CLEAR}{}", routes(&[origin.address()])));
    let url = format!("http://{}/echo", gateway.listener("web"));
    for version in ["--http2-prior-knowledge", "--http1.1"] {
        let said = curl(&[version, "-H", "x_forwarded_for: 6.6.6.6", "-H", "x_own: 1", &url]);
        assert!(said.contains("127.0.0.1") && said.contains("x_own"), "{version}: {said}");
        assert!(!said.contains("6.6.6.6"), "{version}: {said}");
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

/// 20,000 requests of h2load's for these, in turn: 16 connections with 32 under way each.
#[track_caller]
fn loaded(urls: &[&str], shown: &[&str]) {
    let output = Command::new("h2load")
        .args(["-n", "20000", "-c", "16", "-m", "32"])
        .args(urls)
        .output()
        .expect("h2load is there: .ci/setup installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    for line in shown {
        assert!(said.contains(line), "{line}: {said}");
    }
}

/// h2load says of every request how it ended, and so do the gateway's counters.
#[test]
fn many_requests_share_a_connection() {
    let origin = Origin::start("one").unwrap();
    let admin = "[admin]\nbind = \"127.0.0.1:0\"\n";
    let routes = routes(&[origin.address()]);
    let gateway = Gateway::start(BINARY, &format!("{admin}{CLEAR}{routes}"));
    let url = |path: &str| format!("http://{}{path}", gateway.listener("web"));
    // What is no 2xx or 3xx is called failed.
    loaded(
        &[&url("/bytes/1000"), &url("/status/404")],
        &[
            "Application protocol: h2c",
            "10000 succeeded, 10000 failed, 0 errored, 0 timeout",
            "status codes: 10000 2xx, 0 3xx, 10000 4xx, 0 5xx",
        ],
    );
    wait_until(LIMIT, || {
        let samples = scrape(&gateway);
        let count = |status| samples.sum("requests_total", &[status]);
        count("status=\"2xx\"") == 10_000 && count("status=\"4xx\"") == 10_000
    });
}

/// TLS and HTTP/2 on the way in, HTTP/2 on the way out, to a gateway that asks over HTTP/1.1.
#[test]
fn many_requests_share_a_connection_on_both_sides() {
    let authority = Authority::new();
    authority.sign("site", &["example.com"]);
    let origin = Origin::start("one").unwrap();
    let inner = Gateway::start(BINARY, &format!("{CLEAR}{}", routes(&[origin.address()])));
    let entry = authority.entry("site", "");
    let gateway = Gateway::start(
        BINARY,
        &format!(
            "[listeners.web]\nbind = \"127.0.0.1:0\"\nprotocols = [\"h2\"]\ntls = [{entry}]\n\
             [[routes]]\nupstream = {{ protocol = \"h2c\", endpoints = [\"{}\"] }}\n",
            inner.listener("web")
        ),
    );
    loaded(
        &[&format!("https://{}/bytes/1000", gateway.listener("web"))],
        &[
            "TLS Protocol: TLSv1.3",
            "Application protocol: h2",
            "20000 succeeded, 0 failed, 0 errored, 0 timeout",
            "status codes: 20000 2xx, 0 3xx, 0 4xx, 0 5xx",
        ],
    );
}

/// Under TLS the two sides agree on what they speak; the listener's word is what is offered.
#[test]
fn alpn_settles_what_is_spoken() {
    let authority = Authority::new();
    authority.sign("site", &["example.com"]);
    let origin = Origin::start("one").unwrap();
    let gateway = |protocols: &str| {
        let tls = authority.entry("site", "");
        let listener = format!(
            "[listeners.web]\nbind = \"127.0.0.1:0\"\nprotocols = [{protocols}]\ntls = [{tls}]\n"
        );
        Gateway::start(BINARY, &format!("{listener}{}", routes(&[origin.address()])))
    };
    let ask = |gateway: &Gateway, version: &str| {
        let port = gateway.listener("web").port();
        let to = format!("example.com:{port}:127.0.0.1");
        let url = format!("https://example.com:{port}/bytes/100000");
        let ca = authority.path("ca.pem");
        let show = ["-o", "/dev/null", "-w", "%{http_version} %{http_code} %{size_download}"];
        let rest = [version, "--cacert", &ca, "--resolve", &to, &url];
        curl(&[&show[..], &rest].concat())
    };
    let both = gateway("\"h1\", \"h2\"");
    assert_eq!(ask(&both, "--http2"), "2 200 100000");
    assert_eq!(ask(&both, "--http1.1"), "1.1 200 100000");
    let one = gateway("\"h1\"");
    assert_eq!(ask(&one, "--http2"), "1.1 200 100000");
    let two = gateway("\"h2\"");
    assert_eq!(ask(&two, "--http2"), "2 200 100000");
}

/// The gateway in front of itself: HTTP/2 out of one, in to the other, in clear and under TLS.
#[test]
fn a_gateway_asks_another_over_http_2() {
    let authority = Authority::new();
    authority.sign("site", &["inner.example"]);
    let origin = Origin::start("one").unwrap();
    let entry = authority.entry("site", "");
    let inner = Gateway::start(
        BINARY,
        &format!(
            "{CLEAR}[listeners.secure]\nbind = \"127.0.0.1:0\"\nprotocols = [\"h2\"]\n\
             tls = [{entry}]\n{}",
            routes(&[origin.address()])
        ),
    );
    let outer = Gateway::start(
        BINARY,
        &format!(
            "{CLEAR}[[routes]]\npath = \"/clear/*\"\nrewrite = {{ strip = \"/clear\" }}\n\
             upstream = {{ protocol = \"h2c\", endpoints = [\"{}\"] }}\n\
             [[routes]]\npath = \"/secure/*\"\nrewrite = {{ strip = \"/secure\" }}\n\
             upstream = {{ protocol = \"h2\", endpoints = [\"https://{}\"], \
             tls = {{ name = \"inner.example\", roots = \"{}\" }} }}\n",
            inner.listener("web"),
            inner.listener("secure"),
            authority.path("ca.pem"),
        ),
    );
    let body = Body::new("gatehouse-http2-twice", 3_000_000);
    let sent = format!("@{}", body.text());
    let direct = curl(&["--data-binary", &sent, &format!("http://{}/sink", origin.address())]);
    for path in ["clear", "secure"] {
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let url = format!("http://{}/{path}", outer.listener("web"));
            let show = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"];
            let many = format!("{url}/chunked/3000000");
            assert_eq!(curl(&[&[version], &show[..], &[&many]].concat()), "200 3000000");
            let sink = format!("{url}/sink");
            assert_eq!(curl(&[version, "--data-binary", &sent, &sink]), direct, "{path} {version}");
        }
    }
}
