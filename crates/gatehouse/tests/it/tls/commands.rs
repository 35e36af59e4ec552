//! Commands that speak TLS themselves.

use super::{Authority, HELLO, doors};
use crate::front::{BINARY, LIMIT, run, scrape};
use gatehouse_rig::process::Gateway;
use gatehouse_rig::wait_until;

#[test]
fn bench_measures_https_of_whom_it_believes() {
    let authority = Authority::new();
    let site = authority.sign("site", &["localhost", "127.0.0.1"]).entry("site", "");
    let gateway = Gateway::start(BINARY, &format!("{}{HELLO}", doors(&[site])));
    let url = format!("https://{}/", gateway.listener("web"));
    let bench = |more: &[&str]| {
        let load = ["bench", &url, "--requests", "300", "--connections", "3", "--warm-up", "0s"];
        let output = run(&[&load[..], more].concat(), &authority.folder);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    for believing in [&["--cacert", "ca.pem"][..], &["-k"]] {
        let (code, text) = bench(believing);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("300 sent, 300 answered"), "{text}");
    }
    let (code, text) = bench(&[]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("tls handshake: ") && text.contains("UnknownIssuer"), "{text}");
    let (code, text) = bench(&["--cacert", "site.key"]);
    assert_eq!(code, Some(1), "{text}");
    wait_until(LIMIT, || scrape(&gateway).sum("client_connections", &[]) == 0);
}

#[test]
fn a_large_answer_under_tls_is_measured_whole() {
    let authority = Authority::new();
    let site = authority.sign("site", &["localhost"]).entry("site", "");
    let origin = gatehouse_rig::origin::Origin::start("one").unwrap();
    let text = format!("{}{}", doors(&[site]), crate::front::routes(&[origin.address()]));
    let gateway = Gateway::start(BINARY, &text);
    let port = gateway.listener("web").port();
    let url = format!("https://localhost:{port}/bytes/1000000");
    let load = ["bench", &url, "--requests", "20", "--connections", "2", "--cacert", "ca.pem"];
    let output = run(&load, &authority.folder);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("errors      none"), "{text}");
}
