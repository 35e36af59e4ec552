//! The command line, as `--help` shows it. What the words mean is each command's own.

// By its path: the test that writes the manual page takes this file in from elsewhere.
#[path = "cli/registry.rs"]
pub(crate) mod registry;

use clap::{Args, Parser, Subcommand, value_parser};
use registry::{PushArgs, RegistryArgs};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

/// The longest duration on the command line, in milliseconds.
const DURATION_MAX: u64 = 24 * 3_600_000;

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
    /// Measure a server: rate, latency, errors.
    #[command(after_help = "Examples:\n  gatehouse bench http://127.0.0.1:8080/ --rate 2000\n  \
                      gatehouse bench http://127.0.0.1:8080/ --against http://127.0.0.1:9001/ \
                      --plot out.svg\n\nWith --rate, latency counts from when a request was due, \
                      so a server that stalls cannot hide it. Ctrl-C prints what was measured so \
                      far. Exit code 3 where nothing could be measured.")]
    Bench(BenchArgs),
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
    Health(AdminArgs),
    /// Print what a running gateway shows of itself, as JSON.
    #[command(after_help = "Example:\n  gatehouse status\n\nconfig.last_failed_reload says why \
                      the last reload that failed has changed nothing.")]
    Status(AdminArgs),
    /// Have a running gateway read its configuration again.
    #[command(after_help = "Examples:\n  gatehouse reload\n  gatehouse reload --admin \
                      127.0.0.1:9900 --json\n\nWhat did not change keeps its sockets, \
                      connections and counts. Exit code 1 where the file is wrong or cannot be \
                      followed: nothing has changed then.")]
    Reload(ReloadArgs),
    /// Say what a reload would change. Nothing is changed.
    #[command(after_help = "Examples:\n  gatehouse diff\n  gatehouse diff candidate.toml")]
    Diff(DiffArgs),
    /// Put a file in force, for good or on trial.
    #[command(after_help = "Example:\n  gatehouse apply candidate.toml --confirm 60s\n\nThe file \
                      stands in the folder of the configuration. With --confirm it is taken back \
                      by itself unless gatehouse confirm comes in time.")]
    Apply(ApplyArgs),
    /// Keep what was applied on trial.
    #[command(after_help = "Example:\n  gatehouse confirm")]
    Confirm(AdminArgs),
    /// Write a configuration into a registry, once it has been checked.
    #[command(after_help = "Examples:\n  gatehouse push gatehouse.toml \
                      zk://zk1:2181/gatehouse/config\n  gatehouse push gatehouse.toml \
                      zk://zk1:2181/gatehouse/config --version 7\n\nGateways that run with -c and \
                      that URL take it in. Exit code 1 where the file is wrong, or another \
                      version stands there; nothing was written then.")]
    Push(PushArgs),
    /// Look into ZooKeeper, and write into it.
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        after_help = "Example:\n  gatehouse registry ls zk://zk1:2181,zk2:2181/services\n\n\
                      Who asks is in the environment: GATEHOUSE_ZK_USER with GATEHOUSE_ZK_PASSWORD \
                      or GATEHOUSE_ZK_PASSWORD_FILE; GATEHOUSE_ZK_MECHANISM=digest-md5 is SASL. \
                      zks:// is TLS: GATEHOUSE_ZK_ROOTS, GATEHOUSE_ZK_CERT, GATEHOUSE_ZK_KEY. \
                      Exit code 1 where there is no such node or it has another version, 3 where \
                      no server answers."
    )]
    Registry(RegistryArgs),
    /// Give an endpoint no new requests; what it is doing ends.
    #[command(after_help = "Example:\n  gatehouse drain api 10.0.0.1:9000 --watch\n\nIt stays \
                      drained across reloads, until it is undrained or the gateway restarts.")]
    Drain(DrainArgs),
    /// Tell a running gateway about the endpoints it finds.
    #[command(after_help = "Example:\n  gatehouse discovery accept api\n\ngatehouse status shows \
                      under \"discovery\" where endpoints come from, and what is held back.")]
    Discovery(DiscoveryArgs),
    /// Give a drained endpoint requests again.
    #[command(after_help = "Example:\n  gatehouse undrain api 10.0.0.1:9000")]
    Undrain(EndpointArgs),
}

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct ConfigArg {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "./gatehouse.toml")]
    pub config: PathBuf,
}

/// What `bench` is told.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to ask for: http:// or https://.
    pub url: String,
    /// Requests a second, each at its time; without it, a closed loop.
    #[arg(long, value_name = "N")]
    pub rate: Option<NonZeroU64>,
    /// How long each target is measured; 10s without it, or as long as --requests take.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Measure so many requests of each target at most.
    #[arg(long, value_name = "N")]
    pub requests: Option<NonZeroU64>,
    /// Connections at once.
    #[arg(long, value_name = "N", default_value = "64",
          value_parser = value_parser!(u32).range(1..=100_000))]
    pub connections: u32,
    /// Load that does not count, before what does.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub warm_up: Duration,
    /// How long a request may take, from when it is sent.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
    /// Threads; by default as many as the load needs and there are cores.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// The method; GET, or POST where there is a body.
    #[arg(long, value_name = "NAME")]
    pub method: Option<String>,
    /// A field of every request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// A file that is the body of every request.
    #[arg(long, value_name = "FILE", conflicts_with = "body_size")]
    pub body: Option<PathBuf>,
    /// A body of so many bytes, such as 64KiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub body_size: Option<u64>,
    /// Believe who has a certificate that these, in PEM, have signed, instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Believe whoever answers.
    #[arg(short = 'k', long, conflicts_with = "cacert")]
    pub insecure: bool,
    /// Measure this URL too, in turn with the first; may be given several times.
    #[arg(long, value_name = "URL")]
    pub against: Vec<String>,
    /// In how many rounds the targets take turns; 5 without it.
    #[arg(long, value_name = "N", requires = "against",
          value_parser = value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,
    /// Print JSON to standard output.
    #[arg(long)]
    pub json: bool,
    /// Draw latency and rate into this file.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// HTTP/2: not in this version.
    #[arg(long)]
    pub h2: bool,
    /// HTTP/3: not in this version.
    #[arg(long)]
    pub h3: bool,
}

/// What `demo` is told. What is hidden is how it starts its origins.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Speak https, with a certificate made on the fly.
    #[arg(long)]
    pub tls: bool,
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
    /// A certificate in PEM, for TLS on all of them.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<String>,
    /// Its private key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<String>,
    /// An endpoint: HOST:PORT, http://HOST:PORT/base, the same with https, or unix:PATH; may be
    /// given several times.
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
    /// Reload whenever the configuration changes, included files too.
    #[arg(long)]
    pub watch: bool,
    /// Write the process's id into this file once it serves; a new process that takes over
    /// (SIGUSR2) writes its own.
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
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

/// Which running gateway.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// Where its admin interface listens, in place of what the configuration says.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config", value_parser = admin)]
    pub admin: Option<SocketAddr>,
    #[command(flatten)]
    pub file: ConfigArg,
}

/// What `reload` is told.
#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Print JSON to standard output.
    #[arg(long)]
    pub json: bool,
}

/// What `diff` is told.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Another file than the gateway's own, in the same folder.
    #[arg(value_name = "FILE")]
    pub with: Option<PathBuf>,
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Print JSON to standard output.
    #[arg(long)]
    pub json: bool,
}

/// What `apply` is told.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The file.
    #[arg(value_name = "FILE")]
    pub with: PathBuf,
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Take it back after so long, 1s to 1h, unless it is confirmed.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub confirm: Option<Duration>,
    /// Print JSON to standard output.
    #[arg(long)]
    pub json: bool,
}

/// What `discovery` is told.
#[derive(Debug, Args)]
pub(crate) struct DiscoveryArgs {
    #[command(subcommand)]
    pub command: DiscoveryCommand,
}

/// What is to be done about endpoints that were found.
#[derive(Debug, Subcommand)]
pub(crate) enum DiscoveryCommand {
    /// Take a set that is held back because it is so small: the others are really gone.
    #[command(after_help = "Example:\n  gatehouse discovery accept api")]
    Accept(UpstreamArgs),
}

/// Which upstream of a running gateway.
#[derive(Debug, Args)]
pub(crate) struct UpstreamArgs {
    /// The upstream's name.
    pub upstream: String,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Which endpoint of a running gateway.
#[derive(Debug, Args)]
pub(crate) struct EndpointArgs {
    /// The upstream's name.
    pub upstream: String,
    /// The endpoint, as the configuration writes it.
    pub endpoint: String,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// What `drain` is told.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    pub of: EndpointArgs,
    /// Wait until it is empty.
    #[arg(long)]
    pub watch: bool,
}

/// `127.0.0.1:9900`, `localhost:9900` or `:9900`: the interface is on loopback.
fn admin(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':'));
    let address = match local.map(str::parse) {
        Some(port) => port.ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    };
    address.ok_or_else(|| "write it as 127.0.0.1:9900 or localhost:9900".to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'name: value'")?;
    let plain = |c: char| c.is_ascii_graphic();
    if name.is_empty() || !name.chars().all(plain) || value.chars().any(char::is_control) {
        return Err("write it as 'name: value'".to_owned());
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// A duration: `250ms`, `2s`, `5m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let millis = measure(text, &units).filter(|millis| *millis <= DURATION_MAX);
    let millis = millis.ok_or("write a number and ms, s, m or h, 24h at most, such as 250ms")?;
    Ok(Duration::from_millis(millis))
}

/// A size in bytes: `512B`, `16KiB`, `10MB`, or a number alone.
fn size(text: &str) -> Result<u64, String> {
    let units =
        [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("KB", 1_000), ("MB", 1_000_000)];
    measure(text, &units).ok_or_else(|| "write a number of bytes, or such as 64KiB".to_owned())
}

fn measure(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_every_command_has_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        let nested = command.get_subcommands().flat_map(|one| one.get_subcommands());
        let all = std::iter::once(&command).chain(command.get_subcommands()).chain(nested);
        for command in all {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("  gatehouse "), "{} has no example", command.get_name());
        }
    }
}
