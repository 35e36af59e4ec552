//! `gatehouse bench`: measures a server. What is measured and how is `rig`'s; this reads the
//! command line, shows how it goes, and prints what was found.

use super::{INPUT, USAGE, WORLD, complain, say};
use crate::cli::BenchArgs;
use gatehouse_control::config::{Json, parse_request};
use gatehouse_control::dns::look_up_now;
use gatehouse_core::plan::Transport;
use gatehouse_proxy::gate::block_on;
use gatehouse_proxy::signals::{Signal, Signals};
use gatehouse_rig::bench::{
    Bench, Ending, Latency, Measured, Message, Pace, Progress, Report, Round, Stop, Tally, Target,
    plot, summary,
};
use gatehouse_rig::secured::{Security, Trust};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::path::Path;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

/// How long a target is measured where nothing is said.
const DURATION: Duration = Duration::from_secs(10);
/// The same where the number of requests is said.
const DURATION_OF_REQUESTS: Duration = Duration::from_secs(600);
/// How long it is looked whether there is a server at all.
const FIRST_CONTACT: Duration = Duration::from_secs(5);
/// Rounds of several targets.
const ROUNDS: u32 = 5;
/// What one thread carries with ease.
const CONNECTIONS_A_THREAD: u32 = 64;
const RATE_A_THREAD: u64 = 50_000;
/// A larger body is refused: every byte of it is in memory.
const BODY_BYTES_MAX: u64 = 256 << 20;
/// A progress line that is longer would not stay one line.
const COLUMNS: usize = 79;
/// Fields that are written from what else is said.
const OWN_FIELDS: [&str; 2] = ["content-length", "transfer-encoding"];

/// Why it did not measure: the exit code, and what to say.
struct Trouble {
    code: u8,
    text: String,
}

impl Trouble {
    fn input(text: impl Into<String>) -> Self {
        Self { code: INPUT, text: text.into() }
    }

    fn world(text: impl Into<String>) -> Self {
        Self { code: WORLD, text: text.into() }
    }
}

/// Measures, and prints what was found.
pub(crate) fn run(args: &BenchArgs) -> ExitCode {
    match measure(args) {
        Ok(report) if report.targets.iter().all(|measured| measured.tally.answered > 0) => {
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::from(WORLD),
        Err(Trouble { code, text }) => {
            complain(&format!("error: bench: {text}\n"));
            ExitCode::from(code)
        }
    }
}

fn measure(args: &BenchArgs) -> Result<Report, Trouble> {
    let bench = understood(args)?;
    let picture = args.plot.as_deref().map(picture).transpose()?;
    super::run::raise_descriptors();
    let stop = Stop::default();
    stop_on_signal(stop.clone()).map_err(|error| Trouble::world(error.to_string()))?;
    let shows = io::stderr().is_terminal();
    let run = bench.run(&stop, |progress: &Progress<'_>| {
        if shows {
            let line: String = progress.to_string().chars().take(COLUMNS).collect();
            complain(&format!("\r\x1b[K{line}"));
        }
    });
    if shows {
        complain("\r\x1b[K");
    }
    let report = run.map_err(|error| Trouble::world(error.to_string()))?;
    match args.json {
        true => say(&format!("{}\n", json(&report))),
        false => say(&summary(&report)),
    }
    if let Some((mut file, path)) = picture {
        let written = file.write_all(plot(&report).as_bytes());
        written.map_err(|error| Trouble::world(format!("{}: {error}", path.display())))?;
    }
    Ok(report)
}

/// Makes the file for the plot, before time is spent on measuring.
fn picture(path: &Path) -> Result<(File, &Path), Trouble> {
    match File::create(path) {
        Ok(file) => Ok((file, path)),
        Err(error) => Err(Trouble::world(format!("{}: {error}", path.display()))),
    }
}

fn stop_on_signal(stop: Stop) -> io::Result<()> {
    let wait = move || {
        let waited = block_on(async {
            let mut signals = Signals::new()?;
            while poll_fn(|cx| signals.poll_next(cx)).await != Signal::Terminate {}
            io::Result::Ok(())
        });
        if waited.is_ok_and(|waited| waited.is_ok()) {
            stop.stop();
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}

fn understood(args: &BenchArgs) -> Result<Bench, Trouble> {
    for (asked, name) in [(args.h2, "--h2"), (args.h3, "--h3")] {
        if asked {
            return Err(Trouble::input(format!("{name}: not in this version")));
        }
    }
    if args.duration.is_some_and(|duration| duration.is_zero()) || args.timeout.is_zero() {
        let text = "--duration and --timeout take more than nothing".to_owned();
        return Err(Trouble { code: USAGE, text });
    }
    if let Some((name, _)) = args.headers.iter().find(|(name, _)| is_own(name)) {
        return Err(Trouble::input(format!("-H {name}: it follows from --body and --body-size")));
    }
    let body = body(args)?;
    let targets = std::iter::once(&args.url).chain(&args.against);
    let targets: Result<Vec<Target>, Trouble> =
        targets.map(|url| target(url, args, &body)).collect();
    let usual = if args.requests.is_some() { DURATION_OF_REQUESTS } else { DURATION };
    let rounds = if args.against.is_empty() { 1 } else { args.rounds.unwrap_or(ROUNDS) };
    Ok(Bench {
        targets: targets?,
        pace: args.rate.map_or(Pace::Closed, |rate| Pace::Open(rate.get())),
        duration: args.duration.unwrap_or(usual),
        requests: args.requests.map(|requests| requests.get()),
        warm_up: args.warm_up,
        timeout: args.timeout,
        connections: args.connections,
        threads: threads(args)?,
        rounds,
    })
}

fn is_own(name: &str) -> bool {
    OWN_FIELDS.iter().any(|own| name.eq_ignore_ascii_case(own))
}

fn threads(args: &BenchArgs) -> Result<u32, Trouble> {
    match args.threads {
        Some(threads) if threads > args.connections => {
            let text =
                format!("{threads} threads have no use for {} connections", args.connections);
            Err(Trouble { code: USAGE, text })
        }
        Some(threads) => Ok(threads),
        None => {
            let rate = args.rate.map_or(0, NonZeroU64::get).div_ceil(RATE_A_THREAD);
            let rate = u32::try_from(rate).unwrap_or(u32::MAX);
            let needed = args.connections.div_ceil(CONNECTIONS_A_THREAD).max(rate);
            let cores = available_parallelism().map_or(1, |cores| cores.get() as u32);
            Ok(needed.min(cores).clamp(1, args.connections))
        }
    }
}

fn body(args: &BenchArgs) -> Result<Vec<u8>, Trouble> {
    let too_large = || Trouble::input(format!("a body has {} MiB at most", BODY_BYTES_MAX >> 20));
    match (&args.body, args.body_size) {
        (Some(path), _) => {
            let fault = |error| Trouble::world(format!("{}: {error}", path.display()));
            let length = std::fs::metadata(path).map_err(fault)?.len();
            if length > BODY_BYTES_MAX {
                return Err(too_large());
            }
            std::fs::read(path).map_err(fault)
        }
        (None, Some(size)) if size > BODY_BYTES_MAX => Err(too_large()),
        (None, Some(size)) => Ok(vec![b'x'; size as usize]),
        (None, None) => Ok(Vec::new()),
    }
}

/// Takes a URL apart and finds who serves it.
fn target(url: &str, args: &BenchArgs, body: &[u8]) -> Result<Target, Trouble> {
    let given = args.body.is_some() || args.body_size.is_some();
    let method = args.method.as_deref().unwrap_or(if given { "POST" } else { "GET" });
    if method.eq_ignore_ascii_case("CONNECT") {
        return Err(Trouble::input("CONNECT has no answer that could be measured"));
    }
    let asked = parse_request(method, url).map_err(|fault| Trouble::input(fault.to_string()))?;
    let path = match &asked.query {
        Some(query) => format!("{}?{query}", asked.path),
        None => asked.path.clone(),
    };
    let to = contact(url, &asked.authority, asked.port)?;
    let security = match asked.transport {
        Transport::Clear => None,
        Transport::Tls => Some(security(url, &asked.authority, to, args)?),
    };
    let authority = &asked.authority;
    let message = Message { method, authority, target: &path, fields: &args.headers, body };
    let target = Target::new(url, to, &message);
    Ok(match security {
        Some(security) => target.secured(security),
        None => target,
    })
}

/// How a server is spoken to under TLS; it is tried at once, so that a certificate that is not
/// good ends the run before it begins.
fn security(
    url: &str,
    authority: &str,
    to: SocketAddr,
    args: &BenchArgs,
) -> Result<Security, Trouble> {
    let trust = match (&args.cacert, args.insecure) {
        (_, true) => Trust::Anybody,
        (None, false) => Trust::Roots(rustls_native_certs::load_native_certs().certs),
        (Some(path), false) => {
            let fault = |error: &dyn std::fmt::Display| {
                Trouble::input(format!("{}: {error}", path.display()))
            };
            let pem = std::fs::read(path).map_err(|error| fault(&error))?;
            let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            match roots {
                Ok(roots) if !roots.is_empty() => Trust::Roots(roots),
                _ => return Err(fault(&"it holds no certificate in PEM")),
            }
        }
    };
    let host = host_of(authority);
    let security =
        Security::new(host, &trust).map_err(|error| Trouble::input(format!("{url}: {error}")))?;
    match security.shake(to, FIRST_CONTACT) {
        Ok(()) => Ok(security),
        Err(error) => Err(Trouble::world(format!("{url}: tls handshake: {error}"))),
    }
}

/// The host of an authority, brackets left out.
fn host_of(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    };
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The first address behind a name that takes a connection: a run against nobody ends at once.
fn contact(url: &str, authority: &str, port: u16) -> Result<SocketAddr, Trouble> {
    let host = host_of(authority);
    let world = |error: &dyn std::fmt::Display| Trouble::world(format!("{url}: {error}"));
    let addresses = look_up_now(host, port).map_err(|error| world(&error))?;
    let mut last = format!("{host} has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, FIRST_CONTACT) {
            Ok(_) => return Ok(address),
            Err(error) => last = format!("no connection to {address}: {error}"),
        }
    }
    Err(world(&last))
}

fn json(report: &Report) -> Json {
    let ending = match report.ending {
        Ending::Complete => "complete",
        Ending::Stopped => "stopped",
    };
    let base = &report.targets[0];
    let targets = report.targets.iter().map(|measured| target_json(measured, base));
    Json::object([("ending", Json::text(ending)), ("targets", Json::list(targets))])
}

fn target_json(measured: &Measured, base: &Measured) -> Json {
    let asked = match measured.pace {
        Pace::Open(rate) => Json::Count(rate),
        Pace::Closed => Json::Null,
    };
    let count = |count: u32| Json::Count(count.into());
    Json::object([
        ("url", Json::text(&measured.name)),
        ("rate_asked", asked),
        ("rate", Json::Number(measured.rate())),
        ("rate_kept", Json::Flag(measured.missed_rate().is_none())),
        ("connections", count(measured.connections)),
        ("threads", count(measured.threads)),
        ("warm_up_seconds", Json::Number(measured.warm_up.as_secs_f64())),
        ("measured_seconds", Json::Number(measured.measured.as_secs_f64())),
        ("counts", counts_json(&measured.tally)),
        ("warm_up_counts", counts_json(&measured.warm_up_tally)),
        ("response_us", latency_json(&measured.response)),
        ("service_us", latency_json(&measured.service)),
        ("response_lower_bounds", Json::Count(measured.lower_bounds)),
        ("unsent_wait_us", micros(measured.unsent_wait)),
        ("own_cpu_us_per_answer", micros(measured.cpu_per_answer())),
        ("own_cpu_share", Json::Number(measured.cpu_share())),
        ("ratio_to_first", ratio_json(measured, base)),
        ("rounds", rounds_json(measured)),
        ("over_time", points_json(measured)),
    ])
}

fn counts_json(tally: &Tally) -> Json {
    let [other, interim, success, redirect, client, server] = tally.statuses;
    let reason = tally.connect_reason.as_ref().map_or(Json::Null, Json::text);
    let counts = [
        ("sent", tally.sent),
        ("answered", tally.answered),
        ("unsent", tally.unsent),
        ("unfinished", tally.unfinished),
        ("1xx", interim),
        ("2xx", success),
        ("3xx", redirect),
        ("4xx", client),
        ("5xx", server),
        ("other_status", other),
        ("connect", tally.connect),
        ("reset", tally.reset),
        ("closed", tally.closed),
        ("timeout", tally.timeout),
        ("malformed", tally.malformed),
        ("bytes_in", tally.bytes_in),
        ("bytes_out", tally.bytes_out),
    ];
    let counts = counts.into_iter().map(|(name, count)| (name.to_owned(), Json::Count(count)));
    let reason = [("connect_reason".to_owned(), reason)];
    Json::Object(counts.chain(reason).collect())
}

fn micros(time: Duration) -> Json {
    Json::Number(time.as_nanos() as f64 / 1e3)
}

fn latency_json(latency: &Latency) -> Json {
    Json::object([
        ("count", Json::Count(latency.count())),
        ("min", micros(latency.min())),
        ("mean", micros(latency.mean())),
        ("p50", micros(latency.within(0.5))),
        ("p75", micros(latency.within(0.75))),
        ("p90", micros(latency.within(0.9))),
        ("p99", micros(latency.within(0.99))),
        ("p99.9", micros(latency.within(0.999))),
        ("p99.99", micros(latency.within(0.9999))),
        ("max", micros(latency.max())),
    ])
}

/// The ratios to the first target, which has none to itself.
fn ratio_json(measured: &Measured, base: &Measured) -> Json {
    if std::ptr::eq(measured, base) {
        return Json::Null;
    }
    let ratio = |figure: fn(&Round) -> f64| {
        measured.ratio(base, figure).map_or(Json::Null, |ratio| {
            Json::object([
                ("min", Json::Number(ratio.min)),
                ("median", Json::Number(ratio.median)),
                ("max", Json::Number(ratio.max)),
            ])
        })
    };
    Json::object([
        ("rate", ratio(|round| round.rate)),
        ("p50", ratio(|round| round.p50.as_secs_f64())),
        ("p99", ratio(|round| round.p99.as_secs_f64())),
    ])
}

fn rounds_json(measured: &Measured) -> Json {
    Json::list(measured.rounds.iter().map(|round| {
        Json::object([
            ("rate", Json::Number(round.rate)),
            ("p50_us", micros(round.p50)),
            ("p99_us", micros(round.p99)),
        ])
    }))
}

fn points_json(measured: &Measured) -> Json {
    Json::list(measured.points.iter().map(|point| {
        Json::object([
            ("at_seconds", Json::Number(point.at.as_secs_f64())),
            ("seconds", Json::Number(point.width.as_secs_f64())),
            ("answered", Json::Count(point.answered)),
            ("failed", Json::Count(point.failed)),
            ("p50_us", micros(point.p50)),
            ("p99_us", micros(point.p99)),
        ])
    }))
}
