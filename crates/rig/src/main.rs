//! `rig`: the peers of benchmarks, each a process of its own that can be pinned to a core.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;

use gatehouse_rig::load::{Load, Outcome};
use gatehouse_rig::origin::Origin;
use gatehouse_rig::relay::Relay;

const USAGE: &str = "\
usage: rig origin --listen ADDRESS [--name NAME]
       rig relay --listen ADDRESS --to ADDRESS
       rig load --to ADDRESS --requests N [--connections N] [--path PATH]
";

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
        other => Err(Trouble::Usage(format!("{other}: no such command"))),
    }
}

fn origin(options: &mut Options) -> Result<(), Trouble> {
    let address = options.address("--listen")?;
    let name = options.take("--name").unwrap_or_else(|| "origin".to_owned());
    options.end()?;
    let origin = Origin::start_at(&name, address)
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
    let requests = options.number("--requests")?;
    let connections = options.number_or("--connections", 8)?;
    let path = options.take("--path").unwrap_or_else(|| "/bytes/1024".to_owned());
    options.end()?;
    let outcome = Load { to, path, connections, requests }.run();
    let outcome = outcome.map_err(|error| Trouble::World(format!("{to}: {error}")))?;
    let Outcome { answered, errors, elapsed } = outcome;
    println!("answered {answered}, errors {errors}, seconds {:.3}", elapsed.as_secs_f64());
    match errors {
        0 => Ok(()),
        errors => Err(Trouble::World(format!("{errors} of {requests} requests failed"))),
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
        value.parse().map_err(|_| Trouble::Usage(format!("{name} {value}: cannot be read")))
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
