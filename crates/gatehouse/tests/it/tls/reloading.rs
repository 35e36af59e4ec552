//! Certificates that change under a running gateway.

use super::{Authority, HELLO, Secure, doors, said};
use crate::front::{BINARY, LIMIT, ask_admin, run};
use gatehouse_rig::process::{Gateway, Launch, Signal};
use gatehouse_rig::wait_until;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

/// The serial number or whatever else tells the shown certificate from others: its bytes.
fn shown(gateway: &Gateway, config: &Arc<rustls::ClientConfig>) -> Vec<u8> {
    let mut client = Secure::connect(gateway.listener("web"), "a.test", config);
    client.get("a.test").unwrap();
    client.0.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_renewed_certificate_is_shown_and_no_connection_is_dropped() {
    let authority = Authority::new();
    let site = authority.sign("site", &["a.test"]).entry("site", "");
    let gateway = Gateway::start(BINARY, &format!("{}{HELLO}", doors(&[site])));
    let config = Arc::new(authority.client());
    let mut kept = Secure::connect(gateway.listener("web"), "a.test", &config);
    kept.get("a.test").unwrap();
    let first = shown(&gateway, &config);
    authority.sign("site", &["a.test"]);
    gateway.expect_error_line("certificates have changed and are in force");
    // A ticket of before is still good, but a new session is under the new certificate.
    let fresh = Arc::new(authority.client());
    assert_ne!(shown(&gateway, &fresh), first);
    assert!(kept.get("a.test").unwrap().ends_with("hello"));
}

#[test]
fn wrong_new_files_keep_the_old_ones_and_are_told_once() {
    let authority = Authority::new();
    let site = authority.sign("site", &["a.test"]).entry("site", "");
    let gateway = Gateway::start(BINARY, &format!("{}{HELLO}", doors(&[site])));
    let config = Arc::new(authority.client());
    let first = shown(&gateway, &config);
    authority.sign("other", &["a.test"]);
    let key = std::fs::read_to_string(authority.path("other.key")).unwrap();
    authority.put("site.key", &key);
    gateway.expect_error_line("the private key is not the certificate's");
    gateway.expect_error_line("the old ones stay");
    assert_eq!(shown(&gateway, &Arc::new(authority.client())), first);
    let chain = std::fs::read_to_string(authority.path("other.pem")).unwrap();
    authority.put("site.pem", &chain);
    gateway.expect_error_line("certificates have changed and are in force");
    assert_ne!(shown(&gateway, &Arc::new(authority.client())), first);
    let told = gateway.errors();
    assert_eq!(told.iter().filter(|line| line.contains("the old ones stay")).count(), 1);
}

#[test]
fn a_reload_reads_certificates_anew_and_a_wrong_one_refuses_it() {
    let authority = Authority::new();
    let site = authority.sign("site", &["a.test"]).entry("site", "");
    let text = format!("{}{HELLO}", doors(&[site]));
    let gateway = Gateway::start(BINARY, &text);
    let first = shown(&gateway, &Arc::new(authority.client()));
    authority.sign("site", &["a.test"]);
    gateway.signal(Signal::Hup);
    gateway.expect_error_line("reloaded");
    wait_until(LIMIT, || shown(&gateway, &Arc::new(authority.client())) != first);
    let second = shown(&gateway, &Arc::new(authority.client()));
    authority.put("site.pem", "no certificate");
    gateway.signal(Signal::Hup);
    gateway.expect_error_line("it holds no certificate in PEM");
    assert_eq!(shown(&gateway, &Arc::new(authority.client())), second);
}

/// `O_NONBLOCK`: a pipe that nobody reads is not opened, instead of waited for.
const NONBLOCK: i32 = 0o4000;

#[test]
fn a_file_that_does_not_answer_keeps_nothing_else_waiting() {
    let authority = Authority::new();
    let site = authority.sign("site", &["a.test"]).entry("site", "");
    let mut gateway = Gateway::start(BINARY, &format!("{}{HELLO}", doors(&[site])));
    // To read this one is to wait for somebody who writes.
    let (fresh, path) = (authority.path("fifo"), authority.path("site.pem"));
    assert!(said("mkfifo", &[&fresh], &authority.folder).is_empty());
    std::fs::rename(fresh, &path).unwrap();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).custom_flags(NONBLOCK);
    let mut held = None;
    wait_until(LIMIT, || {
        held = options.open(&path).ok();
        held.is_some()
    });
    assert_eq!(ask_admin(gateway.admin(), "/status").status, 200);
    shown(&gateway, &Arc::new(authority.client()));
    assert_eq!(gateway.terminate().code(), Some(0));
    drop(held);
}

#[test]
fn a_line_of_options_is_a_gateway_under_tls() {
    let authority = Authority::new();
    authority.sign("site", &["a.test"]);
    let origin = gatehouse_rig::origin::Origin::start("one").unwrap();
    let (cert, key) = (authority.path("site.pem"), authority.path("site.key"));
    let to = origin.address().to_string();
    let arguments =
        ["proxy", "--listen", "127.0.0.1:0", "--to", &to, "--tls-cert", &cert, "--tls-key", &key];
    let gateway = Launch::new(BINARY, "").arguments(arguments).spawn();
    gateway.expect_error_line("ready");
    let line = gateway
        .errors()
        .into_iter()
        .find_map(|line| line.strip_prefix("listening on ")?.split(' ').next()?.parse().ok());
    let mut client =
        Secure::connect(line.expect("an address"), "a.test", &Arc::new(authority.client()));
    assert!(client.ask("GET /echo HTTP/1.1\r\nHost: a.test\r\n\r\n").is_ok());
    let output =
        run(&["proxy", "--listen", ":0", "--to", &to, "--tls-cert", &cert], &authority.folder);
    assert_eq!(output.status.code(), Some(2));
}
