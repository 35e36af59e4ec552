//! `rig`: the peers of benchmarks, each a process of its own that can be pinned to a core.

use std::net::SocketAddr;
use std::process::ExitCode;

use gatehouse_rig::origin::Origin;

const USAGE: &str = "\
usage: rig origin --listen ADDRESS [--name NAME]
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

    fn number<T: std::str::FromStr>(&mut self, name: &str) -> Result<T, Trouble> {
        let value = self.take(name).ok_or_else(|| Trouble::Usage(format!("{name} is missing")))?;
        value.parse().map_err(|_| Trouble::Usage(format!("{name} {value}: cannot be read")))
    }

    /// Refuses what nobody asked for.
    fn end(&self) -> Result<(), Trouble> {
        match self.0.first() {
            Some((name, _)) => Err(Trouble::Usage(format!("{name}: no such option"))),
            None => Ok(()),
        }
    }
}
