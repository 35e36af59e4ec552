//! What `check` and the start say of files that are wrong, or soon will be.

use super::{Authority, HELLO, doors};
use crate::front::{refuse_to_start, run};
use rcgen::{KeyPair, date_time_ymd};

/// What `check` says of one certificate, and whether it would run.
fn check(authority: &Authority, text: &str) -> (Option<i32>, String) {
    std::fs::write(authority.folder.join("gatehouse.toml"), text).unwrap();
    let output = run(&["check"], &authority.folder);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn wrong_files_are_named_with_what_is_wrong() {
    let authority = Authority::new();
    authority.sign("one", &["a.test"]).sign("two", &["a.test"]);
    let put = |name: &str, text: &str| authority.put(name, text);
    put("empty.pem", "");
    put(
        "secret.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    for (cert, key, expected) in [
        ("one.pem", "one.key", None),
        ("one.pem", "two.key", Some("two.key: the private key is not the certificate's")),
        ("absent.pem", "one.key", Some("absent.pem: there is no such file")),
        ("empty.pem", "one.key", Some("empty.pem: it holds no certificate in PEM")),
        ("one.pem", "one.pem", Some("one.pem: it holds no private key in PEM")),
        ("one.pem", "secret.key", Some("secret.key: the private key is encrypted")),
        (".", "one.key", Some(": it is a folder")),
    ] {
        let text = format!(
            "[listeners.web]\nbind = \"127.0.0.1:0\"\n\
             tls = {{ cert = \"{cert}\", key = \"{key}\" }}\n{HELLO}"
        );
        let (code, said) = check(&authority, &text);
        assert_eq!(code, Some(i32::from(expected.is_some())), "{cert} {key}: {said}");
        let found = expected.is_none_or(|expected| said.contains(expected));
        assert!(found, "{cert} {key}: {said}");
        assert!(expected.is_none() || said.contains("gatehouse.toml:3:"), "{said}");
        assert!(!said.contains("PRIVATE KEY"), "a secret is shown: {said}");
    }
    let text = doors(&[authority.entry("one", "").replace("one.key", "two.key")]);
    let (code, said) = refuse_to_start(&format!("{text}{HELLO}"));
    assert_eq!(code, Some(1));
    assert!(said.contains("the private key is not the certificate's"), "{said}");
}

#[test]
fn expiry_is_warned_of_and_runs() {
    let authority = Authority::new();
    let key = || KeyPair::generate().unwrap();
    authority.sign_with("old", &["old.test"], key(), |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    authority.sign_with("early", &["early.test"], key(), |params| {
        params.not_before = date_time_ymd(2999, 1, 1);
        params.not_after = date_time_ymd(3000, 1, 1);
    });
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let soon = (seconds.as_secs() / 86_400 + 4) as i64;
    authority.sign_with("soon", &["soon.test"], key(), |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after =
            date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(soon as u64 * 86_400);
    });
    let entries = ["old", "early", "soon"].map(|name| authority.entry(name, ""));
    let (code, said) = check(&authority, &format!("{}{HELLO}", doors(&entries)));
    assert_eq!(code, Some(0), "{said}");
    for expected in ["old.pem expired ", "early.pem is not valid yet", "soon.pem expires in 3 days"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(said.matches("warning").count(), 3, "{said}");
}

#[test]
fn a_key_that_everybody_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let authority = Authority::new();
    authority.sign("site", &["a.test"]);
    let path = authority.folder.join("site.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) =
        check(&authority, &format!("{}{HELLO}", doors(&[authority.entry("site", "")])));
    assert_eq!(code, Some(0));
    assert!(said.contains("everybody may read this key"), "{said}");
}

#[test]
fn certificates_that_contradict_each_other_are_refused_with_both_places() {
    let authority = Authority::new();
    authority.sign("one", &["a.test"]).sign("two", &["a.test"]);
    let entries = [authority.entry("one", ""), authority.entry("two", ", min-version = \"1.3\"")];
    let (code, said) = check(&authority, &format!("{}{HELLO}", doors(&entries)));
    assert_eq!(code, Some(1));
    assert!(said.contains("two certificates are for a.test"), "{said}");
    assert!(said.contains("the first"), "{said}");
}

#[test]
fn keys_of_every_usual_form_are_taken() {
    let authority = Authority::new();
    authority.sign("curve", &["a.test"]).sign_rsa("rsa", &["b.test"]);
    let convert = |command: &str, from: &str, to: &str, more: &[&str]| {
        let arguments = [&[command, "-in", from, "-out", to][..], more].concat();
        super::said("openssl", &arguments, &authority.folder);
        authority.put(to, &std::fs::read_to_string(authority.path(to)).unwrap());
    };
    convert("ec", "curve.key", "sec1.key", &[]);
    convert("rsa", "rsa.key", "pkcs1.key", &["-traditional"]);
    let head = |file: &str| std::fs::read_to_string(authority.path(file)).unwrap();
    assert!(head("sec1.key").contains("BEGIN EC PRIVATE KEY"));
    assert!(head("pkcs1.key").contains("BEGIN RSA PRIVATE KEY"));
    let entries = [
        authority.entry("curve", "").replace("curve.key", "sec1.key"),
        authority.entry("rsa", "").replace("rsa.key", "pkcs1.key"),
    ];
    let (code, said) = check(&authority, &format!("{}{HELLO}", doors(&entries)));
    assert_eq!(code, Some(0), "{said}");
}
