//! `gatehouse demo`: three small origins, a gateway in front of them, and what to try.
//!
//! Each origin is a process of its own, so that killing one is what it would be in earnest.

use super::WORLD;
use crate::cli::DemoArgs;
use gatehouse_control::certificates::prepare;
use gatehouse_control::config::{CommandLine, ProcessEnv, command_line_text, load_text};
use gatehouse_control::gateway::{Gateway, Source};
use gatehouse_control::supervisor::Supervisor;
use gatehouse_rig::origin::{Origin, Reserved};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const NAMES: [&str; 3] = ["one", "two", "three"];

/// The port the demo's gateway takes if it is free, in clear and under TLS.
const PORT: u16 = 8080;
const TLS_PORT: u16 = 8443;

/// How long a killed origin stays away.
const AWAY: Duration = Duration::from_secs(10);

/// Runs until Ctrl-C.
pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    let done = match &args.origin {
        Some(name) => be_origin(name, args.at).map(|()| ExitCode::SUCCESS),
        None => demonstrate(args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: demo: {error}");
        ExitCode::from(WORLD)
    })
}

/// Serves as an origin until whoever started this process is gone.
fn be_origin(name: &str, at: SocketAddr) -> io::Result<()> {
    let origin = Origin::start_at(name, at)?;
    println!("{}", origin.address());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

struct Running {
    name: &'static str,
    /// Its port, kept for it while it is away.
    place: Arc<Reserved>,
    child: Child,
}

impl Running {
    fn start(name: &'static str, place: Arc<Reserved>) -> io::Result<Running> {
        let at = place.address();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["demo", "--origin", name, "--at", &at.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the gateway: it drains, and needs its origins until it has.
            .process_group(0)
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let origin = Running { name, place, child };
        if line.trim() == at.to_string() {
            return Ok(origin);
        }
        Err(io::Error::other(format!("origin {name} at {at} did not start")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have been killed already, which is what the demo invites to.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn demonstrate(args: &DemoArgs) -> io::Result<ExitCode> {
    let identity = args.tls.then(Identity::make).transpose()?;
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let start_one = |name| Running::start(name, Arc::new(Reserved::new(anywhere)?));
    let origins: io::Result<Vec<Running>> = NAMES.into_iter().map(start_one).collect();
    let origins = origins?;
    let port = if args.tls { TLS_PORT } else { PORT };
    let identity = identity.as_ref();
    let gateway = start(&origins, port, identity).or_else(|_| start(&origins, 0, identity))?;
    tell(&gateway, &origins, identity);
    let keeper = Keeper::start(origins)?;
    let code = super::run::end(gateway, || {});
    keeper.stop();
    Ok(code)
}

fn start(origins: &[Running], port: u16, identity: Option<&Identity>) -> io::Result<Gateway> {
    let text = command_line_text(&CommandLine {
        listen: vec![format!("127.0.0.1:{port}")],
        tls: identity.map(Identity::files),
        to: origins.iter().map(|origin| origin.place.address().to_string()).collect(),
        admin: Some("127.0.0.1:0".to_owned()),
        ..CommandLine::default()
    });
    let quiet = format!("{text}\n[log]\naccess = {{ format = \"off\" }}\n");
    let mut loaded = load_text("(demo)", &quiet, &ProcessEnv);
    let prepared = prepare(&mut loaded, None);
    let (lowered, prepared) = loaded
        .lowered
        .zip(prepared)
        .ok_or_else(|| io::Error::other("its configuration is wrong"))?;
    let nobody = Supervisor::default();
    Gateway::start(lowered, prepared, Source::default(), nobody)
        .map_err(|fault| io::Error::other(fault.to_string()))
}

fn tell(gateway: &Gateway, origins: &[Running], identity: Option<&Identity>) {
    for line in gateway.addresses() {
        println!("{line}");
    }
    for Running { name, place, child } in origins {
        println!("origin {name:5} on {}, process {}", place.address(), child.id());
    }
    let Some(address) = gateway.first_address() else { return };
    let curl = match identity {
        None => format!("curl http://{address}"),
        Some(identity) => {
            format!("curl --cacert {} https://{address}", identity.certificate().display())
        }
    };
    let victim = origins.get(1).map_or(0, |origin| origin.child.id());
    println!("\nTry:");
    let mut tries = vec![
        (format!("{curl}/"), "again and again: the origins take turns"),
        (format!("{curl}/echo?q=1"), "what an origin sees"),
        (format!("kill -9 {victim}"), "origin two dies; curl on: no request fails"),
    ];
    for line in gateway.addresses() {
        if let Some(admin) = line.strip_prefix("admin on ") {
            tries.push((format!("curl http://{admin}/status"), "who carried what; also /metrics"));
        }
    }
    for (command, what) in tries {
        println!("  {command:40} # {what}");
    }
    println!("\nCtrl-C ends it.");
}

/// A certificate that signs itself, in a folder that goes when the demo ends.
struct Identity(PathBuf);

impl Identity {
    fn make() -> io::Result<Identity> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let folder = std::env::temp_dir().join(format!("gatehouse-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&folder)?;
        let identity = Identity(folder);
        std::fs::write(identity.certificate(), made.cert.pem())?;
        let mut key = OpenOptions::new();
        let mut key = key.write(true).create_new(true).mode(0o600).open(identity.key())?;
        key.write_all(made.signing_key.serialize_pem().as_bytes())?;
        Ok(identity)
    }

    fn certificate(&self) -> PathBuf {
        self.0.join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    /// Both, as a configuration names them.
    fn files(&self) -> (String, String) {
        (self.certificate().display().to_string(), self.key().display().to_string())
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // It is in a folder for what may go; nobody has to be told.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Watches the origins and brings back the ones that were killed.
struct Keeper {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    fn start(origins: Vec<Running>) -> io::Result<Keeper> {
        let (stop, stopped) = channel();
        let mut places: Vec<Place> = origins.into_iter().map(Place::Up).collect();
        let work = move || {
            while let Err(RecvTimeoutError::Timeout) =
                stopped.recv_timeout(Duration::from_millis(100))
            {
                places = std::mem::take(&mut places).into_iter().map(Place::look).collect();
            }
        };
        let thread = std::thread::Builder::new().name("origins".to_owned()).spawn(work)?;
        Ok(Keeper { stop, thread })
    }

    fn stop(self) {
        drop(self.stop);
        drop(self.thread.join());
    }
}

enum Place {
    Up(Running),
    Away { name: &'static str, place: Arc<Reserved>, until: Instant },
}

impl Place {
    fn look(self) -> Place {
        match self {
            Place::Up(mut origin) => match origin.child.try_wait() {
                Ok(Some(_)) => {
                    let (name, place) = (origin.name, Arc::clone(&origin.place));
                    println!("origin {name} is gone; it comes back in {} s", AWAY.as_secs());
                    Place::Away { name, place, until: Instant::now() + AWAY }
                }
                Ok(None) | Err(_) => Place::Up(origin),
            },
            Place::Away { name, place, until } if Instant::now() >= until => {
                match Running::start(name, Arc::clone(&place)) {
                    Ok(origin) => {
                        println!("origin {name} is back, process {}", origin.child.id());
                        Place::Up(origin)
                    }
                    Err(_) => Place::Away { name, place, until: Instant::now() + AWAY },
                }
            }
            away => away,
        }
    }
}
