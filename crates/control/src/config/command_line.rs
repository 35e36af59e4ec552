//! `gatehouse proxy` as a configuration: one way into the Plan, whatever the operator typed.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::ops::Range;

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
    Written::of(line).text
}

/// The flag, with its value, that a byte of [`command_line_text`] stands for; `None` where it
/// stands for none.
pub fn command_line_flag(line: &CommandLine, at: u32) -> Option<String> {
    let flags = Written::of(line).flags;
    flags.into_iter().find(|(range, _)| range.contains(&(at as usize))).map(|(_, flag)| flag)
}

/// A text, and which parts of it are values of flags.
#[derive(Default)]
struct Written {
    text: String,
    flags: Vec<(Range<usize>, String)>,
}

impl Written {
    fn of(line: &CommandLine) -> Written {
        let mut out = Written::default();
        if let Some(workers) = line.workers {
            out.text.push_str(&format!("workers = {workers}\n\n"));
        }
        if let Some(admin) = &line.admin {
            out.text.push_str("[admin]\nbind = ");
            out.value("--admin", admin, "\n\n");
        }
        for (at, bind) in line.listen.iter().enumerate() {
            let name = if at == 0 { "main".to_owned() } else { format!("main-{}", at + 1) };
            out.text.push_str(&format!("[listeners.{name}]\nbind = "));
            out.value("--listen", bind, "\n");
            if let Some((cert, key)) = &line.tls {
                out.text.push_str("tls = { cert = ");
                out.value("--tls-cert", cert, ", key = ");
                out.value("--tls-key", key, " }\n");
            }
            out.text.push('\n');
        }
        out.text.push_str("[[routes]]\nname = \"all\"\nupstream = \"main\"\n\n");
        out.text.push_str("[upstreams.main]\nendpoints = [");
        match &line.to[..] {
            [one] => out.value("--to", one, ""),
            all => {
                for to in all {
                    out.text.push_str("\n    ");
                    out.value("--to", to, ",");
                }
                out.text.push('\n');
            }
        }
        out.text.push_str("]\n");
        if let Some(balance) = &line.balance {
            out.text.push_str("balance = ");
            out.value("--balance", balance, "\n");
        }
        out
    }

    fn value(&mut self, flag: &str, value: &str, behind: &str) {
        let start = self.text.len();
        self.text.push_str(&quoted(value));
        // A terminal cannot be steered with what is shown of it.
        let shown = value.replace(char::is_control, "\u{fffd}");
        self.flags.push((start..self.text.len(), format!("{flag} {shown}")));
        self.text.push_str(behind);
    }
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
