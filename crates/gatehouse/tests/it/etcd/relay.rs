//! Between a gateway and its etcd: sees what is asked before etcd does, and can have connections
//! die without a word, as a firewall does that forgets them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Tells `before` of each piece of a question before it goes on.
type Before = Arc<dyn Fn(&str) + Send + Sync>;

/// One connection of a watch.
struct Watched {
    silenced: Arc<AtomicBool>,
    client: TcpStream,
}

/// It relays for as long as somebody is connected.
pub struct Relay {
    address: SocketAddr,
    watches: Arc<Mutex<Vec<Watched>>>,
}

impl Relay {
    /// Relays to this port of loopback.
    pub fn start(to: u16, before: impl Fn(&str) + Send + Sync + 'static) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let watches: Arc<Mutex<Vec<Watched>>> = Arc::default();
        let (own, before): (_, Before) = (Arc::clone(&watches), Arc::new(before));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                relay(client, server, &own, &before);
            }
        });
        Relay { address, watches }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nothing more comes of the watches that there are, and none of their connections ends.
    pub fn silence_watches(&self) -> usize {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.iter().for_each(|watched| watched.silenced.store(true, Ordering::Relaxed));
        watches.len()
    }

    /// Closes the connections of the watches that there are.
    pub fn cut_watches(&self) -> usize {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.iter().for_each(|watched| drop(watched.client.shutdown(Shutdown::Both)));
        watches.drain(..).count()
    }
}

fn relay(
    client: TcpStream,
    server: TcpStream,
    watches: &Arc<Mutex<Vec<Watched>>>,
    before: &Before,
) {
    let silenced: Arc<AtomicBool> = Arc::default();
    let (watches, before, own) = (Arc::clone(watches), Arc::clone(before), Arc::clone(&silenced));
    let other = (client.try_clone().expect("it"), server.try_clone().expect("it"));
    let end = client.try_clone().expect("it");
    thread::spawn(move || {
        carry(client, server, |piece| {
            let text = String::from_utf8_lossy(piece);
            if text.contains("/v3/watch") {
                let client = end.try_clone().expect("it");
                let mut watches = watches.lock().unwrap_or_else(PoisonError::into_inner);
                watches.push(Watched { silenced: Arc::clone(&own), client });
            }
            before(&text);
            true
        });
    });
    thread::spawn(move || {
        let (client, server) = other;
        carry(server, client, |_| !silenced.load(Ordering::Relaxed));
    });
}

/// Carries from one side to the other what `look` lets through.
fn carry(mut from: TcpStream, mut to: TcpStream, look: impl Fn(&[u8]) -> bool) {
    let mut room = [0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut room) {
        if look(&room[..count]) && to.write_all(&room[..count]).is_err() {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
