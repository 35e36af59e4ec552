//! The command line, as `--help` shows it. What the words mean is each command's own.

use clap::{Args, Parser, Subcommand};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// An HTTP gateway.
#[derive(Debug, Parser)]
#[command(
    name = "gatehouse",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Example:\n  gatehouse check -c gatehouse.toml\n\nExit codes: 0 done, 1 what you \
                  wrote is wrong, 2 usage, 3 the world failed (no such file, port in use)."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start three small origins and a gateway in front of them, to try things on.
    #[command(after_help = "Example:\n  gatehouse demo")]
    Demo(DemoArgs),
    /// Balance over endpoints with no configuration file.
    #[command(after_help = "Example:\n  gatehouse proxy --listen :8080 --to 127.0.0.1:9001 --to \
                      127.0.0.1:9002")]
    Proxy(ProxyArgs),
    /// Run the gateway from a configuration file.
    #[command(after_help = "Example:\n  gatehouse run -c gatehouse.toml\n\nSIGTERM and Ctrl-C \
                      drain: what is in flight ends within the configuration's drain time.")]
    Run(RunArgs),
    /// Say everything that is wrong with a configuration.
    #[command(
        after_help = "Examples:\n  gatehouse check\n  gatehouse check -c site.toml --json\n\nExit \
                      code 0 where the gateway would run, with or without warnings; 1 where not."
    )]
    Check(CheckArgs),
    /// Lay a configuration file out in the one way, comments kept.
    #[command(after_help = "Examples:\n  gatehouse fmt\n  gatehouse fmt --check conf.d/*.toml\n  \
                      gatehouse fmt - < in.toml > out.toml")]
    Fmt(FmtArgs),
    /// Print the JSON Schema of the configuration, for editors.
    #[command(after_help = "Example:\n  gatehouse schema > gatehouse.schema.json")]
    Schema,
    /// Say what would become of a request, and why. Nothing is sent.
    #[command(
        after_help = "Examples:\n  gatehouse explain GET https://api.example.com/v1/items\n  \
                      gatehouse explain POST http://localhost:8080/ -H 'x-beta: 1' --client \
                      203.0.113.9 --json"
    )]
    Explain(ExplainArgs),
    // Not a doc comment: rustdoc would take the brackets for a link.
    #[command(
        about = "Run the [[expect]] rows of a configuration",
        after_help = "Example:\n  gatehouse test -c gatehouse.toml"
    )]
    Test(TestArgs),
    /// Ask a running gateway whether it can serve.
    #[command(after_help = "Examples:\n  gatehouse health\n  gatehouse health --admin \
                      127.0.0.1:9900\n\nExit code 0 where it can, 1 where it cannot, 3 where \
                      nobody answers within 3 s.")]
    Health(HealthArgs),
}

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct ConfigArg {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "./gatehouse.toml")]
    pub config: PathBuf,
}

/// What `demo` is told: nothing. The rest is how it starts its origins.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Be one of the origins instead: its name.
    #[arg(long, hide = true, value_name = "NAME")]
    pub origin: Option<String>,
    /// Where that origin listens.
    #[arg(long, hide = true, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub at: SocketAddr,
}

/// What `proxy` is told.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Where to listen: :PORT, IP:PORT or unix:PATH; may be given several times.
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub listen: Vec<String>,
    /// An endpoint: HOST:PORT, http://HOST:PORT/base or unix:PATH; may be given several times.
    #[arg(long, value_name = "ENDPOINT", required = true)]
    pub to: Vec<String>,
    /// How an endpoint is chosen, such as least-request.
    #[arg(long, value_name = "NAME")]
    pub balance: Option<String>,
    /// Where the admin interface listens: a loopback address.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Threads that serve; one per core without it.
    #[arg(long, value_name = "COUNT")]
    pub workers: Option<NonZeroUsize>,
    /// Write the equivalent configuration to standard output and end.
    #[arg(long)]
    pub print_config: bool,
}

/// What `run` is told.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub file: ConfigArg,
}

/// What `check` is told.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub file: ConfigArg,
    /// Print JSON to standard output.
    #[arg(long)]
    pub json: bool,
}

/// What `fmt` is told.
#[derive(Debug, Args)]
pub(crate) struct FmtArgs {
    /// The files; `-` is standard input, written to standard output.
    #[arg(value_name = "FILE", default_value = "./gatehouse.toml")]
    pub files: Vec<PathBuf>,
    /// Write nothing; name the files that would change and end with 1 where there are any.
    #[arg(long)]
    pub check: bool,
}

/// What `explain` is told.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The request's method.
    pub method: String,
    /// The request's URL.
    pub url: String,
    #[command(flatten)]
    pub file: ConfigArg,
    /// A field of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// Where the request comes from.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub client: IpAddr,
    /// The listener it comes in by; by default the one whose port the URL has, else the first.
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// List all routes, also where there are very many.
    #[arg(long)]
    pub all: bool,
    /// Print JSON to standard output.
    #[arg(long)]
    pub json: bool,
}

/// What `test` is told.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub file: ConfigArg,
}

/// What `health` is told.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Where its admin interface listens; by default as the configuration has it.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    pub admin: Option<SocketAddr>,
    #[command(flatten)]
    pub file: ConfigArg,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'name: value'")?;
    let plain = |c: char| c.is_ascii_graphic();
    if name.is_empty() || !name.chars().all(plain) || value.chars().any(char::is_control) {
        return Err("write it as 'name: value'".to_owned());
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_every_command_has_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("  gatehouse "), "{} has no example", command.get_name());
        }
    }
}
