//! The same by OpenSSL: versions, ciphers, keys, sessions.

use super::{Authority, HELLO, doors, said};
use crate::front::BINARY;
use gatehouse_rig::process::Gateway;

/// What `openssl s_client` says of the gateway.
fn s_client(authority: &Authority, gateway: &Gateway, more: &[&str]) -> String {
    let address = gateway.listener("web").to_string();
    let arguments = [&["s_client", "-connect", &address, "-CAfile", "ca.pem"][..], more].concat();
    said("openssl", &arguments, &authority.folder)
}

/// Whether a handshake came to its end: s_client says that all is verified also where there was
/// nothing to verify.
fn is_open(text: &str) -> bool {
    text.contains("Verify return code: 0 (ok)") && text.contains("-----BEGIN CERTIFICATE-----")
}

fn both_kinds(authority: &Authority) -> Gateway {
    authority.sign("curve", &["a.test", "b.test"]).sign_rsa("rsa", &["a.test", "b.test"]);
    let entries = [authority.entry("rsa", ""), authority.entry("curve", "")];
    Gateway::start(BINARY, &format!("{}{HELLO}", doors(&entries)))
}

#[test]
fn rsa_and_curves_stand_side_by_side() {
    let authority = Authority::new();
    let gateway = both_kinds(&authority);
    let shown = |more: &[&str]| {
        let text = s_client(&authority, &gateway, &[&["-servername", "a.test"][..], more].concat());
        assert!(is_open(&text), "{more:?}: {text}");
        let subject = text.lines().find_map(|line| line.strip_prefix("subject="));
        subject.unwrap_or_default().replace(' ', "")
    };
    assert_eq!(shown(&[]), "CN=curve");
    assert_eq!(shown(&["-sigalgs", "RSA-PSS+SHA256"]), "CN=rsa");
    assert_eq!(shown(&["-sigalgs", "ECDSA+SHA256"]), "CN=curve");
    assert_eq!(shown(&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"]), "CN=rsa");
    assert_eq!(shown(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]), "CN=curve");
    assert_eq!(shown(&["-noservername"][..0]), "CN=curve");
    // Without a name the first is shown, in the kind that the client can take.
    let address = gateway.listener("web").to_string();
    let bare = ["s_client", "-connect", &address, "-noservername"];
    let text = said("openssl", &bare, &authority.folder);
    assert!(text.replace(' ', "").contains("subject=CN=curve"), "{text}");
}

#[test]
fn old_versions_are_refused() {
    let authority = Authority::new();
    let gateway = both_kinds(&authority);
    for (version, spoken) in
        [("-tls1", false), ("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)]
    {
        // OpenSSL itself wants to be asked twice before it speaks the old ones.
        let more = [version, "-cipher", "ALL:@SECLEVEL=0", "-servername", "a.test"];
        let text = s_client(&authority, &gateway, &more);
        assert_eq!(is_open(&text), spoken, "{version}: {text}");
        assert_eq!(text.contains(":SSL alert number "), !spoken, "{version}: {text}");
    }
}

#[test]
fn of_all_ciphers_only_strong_ones_are_spoken() {
    let authority = Authority::new();
    let gateway = both_kinds(&authority);
    let all = said(
        "openssl",
        &["ciphers", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        &authority.folder,
    );
    let old: Vec<&str> = all.trim().split(':').filter(|name| !name.starts_with("TLS_")).collect();
    assert!(old.len() > 60, "{all}");
    let spoken = |more: &[&str]| {
        let text = s_client(&authority, &gateway, &[&["-servername", "a.test"][..], more].concat());
        is_open(&text)
    };
    let mut found: Vec<&str> = old
        .iter()
        .copied()
        .filter(|name| spoken(&["-tls1_2", "-cipher", &format!("{name}:@SECLEVEL=0")]))
        .collect();
    found.sort_unstable();
    let expected = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ];
    assert_eq!(found, expected);
    // And is told so in the words that scanners understand.
    let key_transport = ["-servername", "a.test", "-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"];
    let text = s_client(&authority, &gateway, &key_transport);
    assert!(text.contains("SSL alert number 40"), "{text}");
    for (name, strong) in [
        ("TLS_AES_256_GCM_SHA384", true),
        ("TLS_AES_128_GCM_SHA256", true),
        ("TLS_CHACHA20_POLY1305_SHA256", true),
        ("TLS_AES_128_CCM_SHA256", false),
        ("TLS_AES_128_CCM_8_SHA256", false),
    ] {
        assert_eq!(spoken(&["-tls1_3", "-ciphersuites", name]), strong, "{name}");
    }
}

#[test]
fn the_ciphers_that_are_chosen_are_the_only_ones() {
    let authority = Authority::new();
    let only = ", ciphers = [\"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]";
    let entry = authority.sign("site", &["a.test"]).entry("site", only);
    let gateway = Gateway::start(BINARY, &format!("{}{HELLO}", doors(&[entry])));
    let text = s_client(&authority, &gateway, &["-servername", "a.test"]);
    assert!(text.contains("ECDHE-ECDSA-AES128-GCM-SHA256"), "{text}");
    let text = s_client(&authority, &gateway, &["-servername", "a.test", "-tls1_3"]);
    assert!(!is_open(&text), "{text}");
}

#[test]
fn a_session_is_taken_up_again_under_its_own_name_only() {
    let authority = Authority::new();
    let gateway = both_kinds(&authority);
    for version in ["-tls1_2", "-tls1_3"] {
        let session = authority.path("session");
        let visit = |name: &str, more: &[&str]| {
            let address = gateway.listener("web").to_string();
            // A request, so that there is time for the tickets to come.
            let command = format!(
                "printf 'GET / HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n' | \
                 openssl s_client -connect {address} -servername {name} -CAfile ca.pem -ign_eof \
                 {version} {}",
                more.join(" ")
            );
            said("sh", &["-c", &command], &authority.folder)
        };
        let text = visit("a.test", &["-sess_out", &session]);
        assert!(text.contains("New, TLSv1"), "{text}");
        let text = visit("a.test", &["-sess_in", &session]);
        assert!(text.contains("Reused, TLSv1"), "{version}: {text}");
        assert!(text.contains("hello"), "{text}");
        let text = visit("b.test", &["-sess_in", &session]);
        assert!(text.contains("New, TLSv1"), "{version}: {text}");
    }
}
