//! A storm over real sockets against a real gateway: clients and origins that keep to HTTP and that
//! do not, origins that die and come back, reloads while all goes on. It holds what clients and
//! origins saw, the access log and the counters against each other. Loopback only, bounded in
//! time and in clients; what an actor does is decided by the seed, when it happens is not.

mod book;
mod client;
mod content;
mod dice;
mod end;
mod origin;
mod verdict;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Gateway, Signal};
use crate::wait::{holds_within, pause};
use book::Book;
use client::Client;
use origin::Origin;

pub use content::{Content, Reading};
pub use dice::Dice;
pub use verdict::Verdict;

/// Origins of a storm.
const ORIGINS: u64 = 3;

/// Requests that clients, and that origins, do wrong by, in percent.
const WRONGS: u32 = 10;

/// How long the last exchange of a storm may take.
const AFTERMATH: Duration = Duration::from_secs(20);

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Storm {
    /// The gateway's binary.
    pub binary: PathBuf,
    /// Decides what each actor does.
    pub seed: u64,
    /// Clients at once, each a thread; at most [`Storm::CLIENTS_MAX`].
    pub clients: u32,
    /// How long it rages; at most [`Storm::PERIOD_MAX`].
    pub period: Duration,
}

impl Storm {
    /// Clients of a storm at most.
    pub const CLIENTS_MAX: u32 = 256;

    /// The longest storm.
    pub const PERIOD_MAX: Duration = Duration::from_secs(3600);

    /// Lets it rage, and says what was seen.
    ///
    /// # Panics
    ///
    /// When the gateway does not start, or there are no ports.
    #[must_use]
    pub fn run(&self) -> Verdict {
        let book: Arc<Book> = Arc::default();
        let origins: Vec<Origin> = (0..ORIGINS)
            .map(|number| Origin::start(&book, self.seed, number).expect("a port"))
            .collect();
        let addresses: Vec<SocketAddr> = origins.iter().map(Origin::address).collect();
        let gateway = Gateway::start(&self.binary, &config(&addresses, 0));
        self.rage(&book, &origins, &gateway);
        for origin in &origins {
            origin.err(0);
            let back = holds_within(AFTERMATH, || origin.revive().is_ok());
            assert!(back, "no port for an origin that comes back");
        }
        gateway.reconfigure(&config(&addresses, 0));
        gateway.signal(Signal::Hup);
        // Whoever was left out for its errors is asked again by now.
        let calm = holds_within(AFTERMATH, || verdict::at_rest(&gateway));
        pause(Duration::from_millis(1500));
        self.recovers(&book, &gateway);
        verdict::of(self, &book, gateway, calm)
    }

    fn rage(&self, book: &Arc<Book>, origins: &[Origin], gateway: &Gateway) {
        let stop = AtomicBool::new(false);
        let addresses: Vec<SocketAddr> = origins.iter().map(Origin::address).collect();
        let to = gateway.listener("web");
        thread::scope(|scope| {
            for number in 0..self.clients.min(Self::CLIENTS_MAX) {
                let (book, stop) = (&**book, &stop);
                let mut dice = Dice::of(self.seed, u64::from(number));
                scope.spawn(move || {
                    let client = Client { book, to, wrongs: WRONGS, calm: false };
                    client.run(&mut dice, stop, usize::MAX);
                });
            }
            origins.iter().for_each(|origin| origin.err(WRONGS));
            let mut dice = Dice::of(self.seed, 1 << 20);
            let end = Instant::now() + self.period.min(Self::PERIOD_MAX);
            while Instant::now() < end {
                pause(dice.millis(20..300));
                let origin = &origins[dice.below(origins.len())];
                match dice.below(4) {
                    0 => {
                        book.note("an origin dies");
                        origin.die();
                    }
                    1 => {
                        book.note("reload");
                        gateway.reconfigure(&config(&addresses, dice.below(4)));
                        gateway.signal(Signal::Hup);
                    }
                    // Its port may be busy yet; another time then.
                    _ => drop(origin.revive()),
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    /// Once faults have stopped, every request succeeds.
    fn recovers(&self, book: &Book, gateway: &Gateway) {
        let stop = AtomicBool::new(false);
        let to = gateway.listener("web");
        thread::scope(|scope| {
            for number in 0..4 {
                let (book, stop) = (book, &stop);
                let mut dice = Dice::of(self.seed, (1 << 21) + number);
                scope.spawn(move || {
                    let client = Client { book, to, wrongs: 0, calm: true };
                    client.run(&mut dice, stop, 50);
                });
            }
        });
    }
}

/// Where everything goes to the origins; the variants differ in what a reload may change.
fn config(origins: &[SocketAddr], variant: usize) -> String {
    let shown = if variant == 1 { &origins[..origins.len() - 1] } else { origins };
    let list: Vec<String> = shown.iter().map(|one| format!("\"{one}\"")).collect();
    let balance = ["round-robin", "least-request", "random", "peak-ewma"][variant % 4];
    let kept = [1024, 1, 2, 0][variant % 4];
    format!(
        "drain = \"2s\"\n\
         [admin]\nbind = \"127.0.0.1:0\"\n\
         [listeners.web]\nbind = \"127.0.0.1:0\"\n\
         [log]\naccess = {{ to = \"access.log\" }}\n\
         [[routes]]\nname = \"all\"\nupstream = \"all\"\n\
         timeout = {{ connect = \"1s\", first-byte = \"1s\", idle = \"1s\" }}\n\
         [upstreams.all]\nbalance = \"{balance}\"\nendpoints = [{}]\n\
         keepalive = {{ idle-per-worker = {kept} }}\n\
         outlier = {{ consecutive-errors = 20, eject-for = \"1s\" }}\n",
        list.join(", ")
    )
}
