//! `gatehouse proxy` as a configuration: one way into the Plan, whatever the operator typed.

use std::fmt::Write;
use std::num::NonZeroUsize;

/// What `gatehouse proxy` was told. The texts are the configuration's own, and are checked there.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// Addresses to listen on, at least one: `:8080`.
    pub listen: Vec<String>,
    /// A certificate and its key, for TLS on all of them.
    pub tls: Option<(String, String)>,
    /// Endpoints, at least one: `127.0.0.1:9001`.
    pub to: Vec<String>,
    /// How one is chosen.
    pub balance: Option<String>,
    /// Where the admin interface listens.
    pub admin: Option<String>,
    /// Threads that serve.
    pub workers: Option<NonZeroUsize>,
}

/// The configuration that means the same.
pub fn command_line_text(line: &CommandLine) -> String {
    let mut out = String::new();
    if let Some(workers) = line.workers {
        let _ = writeln!(out, "workers = {workers}\n");
    }
    if let Some(admin) = &line.admin {
        let _ = writeln!(out, "[admin]\nbind = {}\n", quoted(admin));
    }
    for (at, bind) in line.listen.iter().enumerate() {
        let name = if at == 0 { "main".to_owned() } else { format!("main-{}", at + 1) };
        let _ = writeln!(out, "[listeners.{name}]\nbind = {}", quoted(bind));
        if let Some((cert, key)) = &line.tls {
            let (cert, key) = (quoted(cert), quoted(key));
            let _ = writeln!(out, "tls = {{ cert = {cert}, key = {key} }}");
        }
        out.push('\n');
    }
    out.push_str("[[routes]]\nname = \"all\"\nupstream = \"main\"\n\n[upstreams.main]\n");
    let endpoints: Vec<String> = line.to.iter().map(|to| quoted(to)).collect();
    let _ = match &endpoints[..] {
        [one] => writeln!(out, "endpoints = [{one}]"),
        all => writeln!(out, "endpoints = [\n    {},\n]", all.join(",\n    ")),
    };
    if let Some(balance) = &line.balance {
        let _ = writeln!(out, "balance = {}", quoted(balance));
    }
    out
}

/// A TOML string that means the text itself, dollars included.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '$' => out.push_str("$$"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
