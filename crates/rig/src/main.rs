//! `rig`: the peers of benchmarks, each a process of its own that can be pinned to a core.

use std::io::Read;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use gatehouse_rig::bench::{Bench, Measured, Message, Pace, Stop, Target};
use gatehouse_rig::hold::{Held, Hold};
use gatehouse_rig::load::{Afterwards, End, Load, Outcome, Question};
use gatehouse_rig::origin::{Origin, Temper};
use gatehouse_rig::relay::Relay;
use gatehouse_rig::slow::Slow;
use gatehouse_rig::storm::Storm;

const USAGE: &str = "\
usage: rig origin --listen ADDRESS [--name NAME] [--status N] [--work MS [--slots N]]
                  [--unread BYTES]
       rig relay --listen ADDRESS --to ADDRESS
       rig load --to ADDRESS --requests N | --milliseconds N
                [--connections N] [--path PATH] [--answer-bytes N] [--upload-bytes N]
                [--fields FILE] [--hosts N] [--routes N] [--afterwards keep|close]
                [--format text|json]
       rig pace --to ADDRESS --rate N --milliseconds N [--connections N] [--path PATH]
                [--timeout MS]
       rig hold --to ADDRESS --count N [--sources N] [--path PATH] [--answer-bytes N]
       rig slow --to ADDRESS --senders N --readers N --milliseconds N
       rig storm --gateway BINARY [--seed N] [--clients N] [--seconds N]
";

/// What is asked for where nothing is said.
const PATH: &str = "/bytes/1024";
/// How long a paced run goes on before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// How long an answer of a paced run may take.
const TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Usage(reason)) => {
            eprint!("rig: {reason}\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Trouble::World(reason)) => {
            eprintln!("rig: {reason}");
            ExitCode::from(3)
        }
    }
}

enum Trouble {
    Usage(String),
    World(String),
}

fn run(arguments: &[String]) -> Result<(), Trouble> {
    let (command, rest) = arguments.split_first().ok_or(Trouble::Usage("no command".to_owned()))?;
    let mut options = Options::parse(rest)?;
    match command.as_str() {
        "origin" => origin(&mut options),
        "relay" => relay(&mut options),
        "load" => load(&mut options),
        "pace" => pace(&mut options),
        "hold" => hold(&mut options),
        "slow" => slow(&mut options),
        "storm" => storm(&mut options),
        other => Err(Trouble::Usage(format!("{other}: no such command"))),
    }
}

fn origin(options: &mut Options) -> Result<(), Trouble> {
    let address = options.address("--listen")?;
    let name = options.take("--name").unwrap_or_else(|| "origin".to_owned());
    let status = options.take("--status").map(|text| parsed("--status", &text)).transpose()?;
    let work = Duration::from_millis(options.number_or("--work", 0)?);
    let slots = options.number_or("--slots", 0)?;
    let temper = Temper { status, work, slots, unread: options.number_or("--unread", 0)? };
    options.end()?;
    let origin = Origin::start_as(&name, address, temper)
        .map_err(|error| Trouble::World(format!("{address}: {error}")))?;
    eprintln!("listening on {}", origin.address());
    origin.join();
    Ok(())
}

fn relay(options: &mut Options) -> Result<(), Trouble> {
    let (address, to) = (options.address("--listen")?, options.address("--to")?);
    options.end()?;
    let world = |error| Trouble::World(format!("{address}: {error}"));
    let relay = Relay::bind(address, to).map_err(world)?;
    eprintln!("listening on {}", relay.address());
    relay.run().map_err(world)
}

fn load(options: &mut Options) -> Result<(), Trouble> {
    let to = options.address("--to")?;
    let end = match options.take("--milliseconds") {
        Some(time) => End::After(Duration::from_millis(parsed("--milliseconds", &time)?)),
        None => End::Requests(options.number("--requests")?),
    };
    let connections = options.number_or("--connections", 8)?;
    let question = question(options)?;
    let json = options.choice("--format", ["text", "json"])? == "json";
    options.end()?;
    let outcome = Load { to, question, connections, end }.run();
    let outcome = outcome.map_err(|error| Trouble::World(format!("{to}: {error}")))?;
    let Outcome { answered, errors, first, elapsed, .. } = &outcome;
    let errors = errors.sum();
    if json {
        println!("{}", outcome.json());
        return Ok(());
    }
    println!("answered {answered}, errors {errors}, seconds {:.3}", elapsed.as_secs_f64());
    match first {
        None => Ok(()),
        Some(first) => {
            let all = answered + errors;
            Err(Trouble::World(format!("{errors} of {all} requests failed; the first: {first}")))
        }
    }
}

fn question(options: &mut Options) -> Result<Question, Trouble> {
    let path = options.take("--path").unwrap_or_else(|| PATH.to_owned());
    let fields = match options.take("--fields") {
        None => String::new(),
        Some(file) => {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| Trouble::World(format!("{file}: {error}")))?;
            text.lines()
                .filter(|line| !line.is_empty())
                .fold(String::new(), |all, line| all + line + "\r\n")
        }
    };
    let answer_bytes = match options.take("--answer-bytes") {
        None => None,
        Some(bytes) => Some(parsed("--answer-bytes", &bytes)?),
    };
    let afterwards = match options.choice("--afterwards", ["keep", "close"])? {
        "close" => Afterwards::Close,
        _ => Afterwards::Keep,
    };
    Ok(Question {
        path,
        fields,
        upload_bytes: options.number_or("--upload-bytes", 0)?,
        answer_bytes,
        hosts: options.number_or("--hosts", 0)?,
        routes: options.number_or("--routes", 0)?,
        afterwards,
    })
}

/// An open loop: requests at a fixed rate, each timed from when it was due.
fn pace(options: &mut Options) -> Result<(), Trouble> {
    let to = options.address("--to")?;
    let rate: NonZeroU64 = options.number("--rate")?;
    let duration = Duration::from_millis(options.number("--milliseconds")?);
    let connections: NonZeroU32 = options.number_or("--connections", NonZeroU32::MIN)?;
    let path = options.take("--path").unwrap_or_else(|| PATH.to_owned());
    let timeout = options.number_or("--timeout", TIMEOUT.as_millis() as u64)?;
    options.end()?;
    let authority = &to.to_string();
    let message = Message { method: "GET", authority, target: &path, fields: &[], body: b"" };
    let bench = Bench {
        targets: vec![Target::new(&path, to, &message)],
        pace: Pace::Open(rate.get()),
        duration,
        requests: None,
        warm_up: WARM_UP,
        timeout: Duration::from_millis(timeout),
        connections: connections.get(),
        threads: 1,
        rounds: 1,
    };
    let report = bench.run(&Stop::default(), |_| {});
    let report = report.map_err(|error| Trouble::World(format!("{to}: {error}")))?;
    report.targets.iter().for_each(|measured| println!("{}", paced(measured)));
    Ok(())
}

/// The figures of a paced run as one JSON object, times in microseconds.
fn paced(measured: &Measured) -> String {
    let tally = &measured.tally;
    let before = &measured.warm_up_tally;
    let wrong_status = tally.answered - tally.statuses[2];
    let broken = tally.reset + tally.closed + tally.timeout + tally.connect + tally.unfinished;
    let within = |share| measured.response.within(share).as_nanos() as f64 / 1e3;
    let served = |share| measured.served.within(share).as_nanos() as f64 / 1e3;
    let (p50, p99, p999) = (within(0.5), within(0.99), within(0.999));
    format!(
        "{{\"answered\":{},\"answered_before\":{},\"unsent\":{},\"seconds\":{:.6},\"p50\":{p50:.1},\
         \"p99\":{p99:.1},\"p999\":{p999:.1},\"max\":{:.1},\"own_cpu_share\":{:.3},\
         \"served\":{},\"served_p50\":{:.1},\"served_p99\":{:.1},\"served_max\":{:.1},\
         \"errors\":{{\"broken\":{broken},\"status\":{wrong_status},\"malformed\":{}}}}}",
        tally.answered,
        before.answered,
        tally.unsent,
        measured.measured.as_secs_f64(),
        measured.response.max().as_nanos() as f64 / 1e3,
        measured.cpu_share(),
        tally.statuses[2],
        served(0.5),
        served(0.99),
        served(1.0),
        tally.malformed,
    )
}

/// Connections that are kept, each after one answer, until the standard input ends.
fn hold(options: &mut Options) -> Result<(), Trouble> {
    let to = options.address("--to")?;
    let count = options.number("--count")?;
    let sources = options.number_or("--sources", 1)?;
    let question = question(options)?;
    options.end()?;
    let world = |error| Trouble::World(format!("{to}: {error}"));
    let held = Held::open(&Hold { to, question, count, sources }).map_err(world)?;
    println!("held {}", held.count());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    println!("open {}", held.still_open());
    Ok(())
}

/// Clients that send and read as slowly as they can, until their time is over.
fn slow(options: &mut Options) -> Result<(), Trouble> {
    let to = options.address("--to")?;
    let senders = options.number("--senders")?;
    let readers = options.number("--readers")?;
    let period = Duration::from_millis(options.number("--milliseconds")?);
    options.end()?;
    let world = |error| Trouble::World(format!("{to}: {error}"));
    let mut slow = Slow::open(to, senders, readers).map_err(world)?;
    println!("open {}", slow.open_now());
    slow.go_on(period);
    println!("still open {} senders, {} readers", slow.senders(), slow.readers());
    Ok(())
}

/// A storm over real sockets against a real gateway.
fn storm(options: &mut Options) -> Result<(), Trouble> {
    let binary = options.take("--gateway").ok_or(Trouble::Usage("--gateway is missing".into()))?;
    let storm = Storm {
        binary: binary.into(),
        seed: options.number_or("--seed", 1)?,
        clients: options.number_or("--clients", 32)?,
        period: Duration::from_secs(options.number_or("--seconds", 10)?),
    };
    options.end()?;
    println!("seed {}", storm.seed);
    let verdict = storm.run();
    println!("{verdict}");
    match verdict.violations.is_empty() {
        true => Ok(()),
        false => Err(Trouble::World(format!("seed {}", storm.seed))),
    }
}

/// Pairs of `--name VALUE` that are not used up yet.
struct Options(Vec<(String, String)>);

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Trouble> {
        let pair = |pair: &[String]| match pair {
            [name, value] if name.starts_with("--") => Ok((name.clone(), value.clone())),
            [name, ..] => Err(Trouble::Usage(format!("{name}: an option and its value expected"))),
            [] => Err(Trouble::Usage(String::new())),
        };
        Ok(Self(arguments.chunks(2).map(pair).collect::<Result<_, _>>()?))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.remove(at).1)
    }

    fn address(&mut self, name: &str) -> Result<SocketAddr, Trouble> {
        self.number(name)
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Result<T, Trouble> {
        let value = self.take(name).ok_or_else(|| Trouble::Usage(format!("{name} is missing")))?;
        parsed(name, &value)
    }

    /// One of two words; the first where nothing is said.
    fn choice(&mut self, name: &str, words: [&'static str; 2]) -> Result<&'static str, Trouble> {
        let Some(value) = self.take(name) else { return Ok(words[0]) };
        let found = words.into_iter().find(|word| *word == value);
        found.ok_or_else(|| Trouble::Usage(format!("{name} {value}: {} or {}", words[0], words[1])))
    }

    fn number_or<T: FromStr>(&mut self, name: &str, default: T) -> Result<T, Trouble> {
        let given = self.0.iter().any(|(given, _)| given == name);
        if given { self.number(name) } else { Ok(default) }
    }

    /// Refuses what nobody asked for.
    fn end(&self) -> Result<(), Trouble> {
        match self.0.first() {
            Some((name, _)) => Err(Trouble::Usage(format!("{name}: no such option"))),
            None => Ok(()),
        }
    }
}

fn parsed<T: FromStr>(name: &str, value: &str) -> Result<T, Trouble> {
    value.parse().map_err(|_| Trouble::Usage(format!("{name} {value}: cannot be read")))
}
