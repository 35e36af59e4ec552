//! Listening and dialling, over the system's network or the tests'.

use crate::acceptor::Acceptor;
use crate::dial_error::DialError;
use crate::socket::{self, Stream};
use crate::sys;
use gatehouse_core::address::{Address, Bind};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

/// Connections the kernel may queue on one listening socket.
const BACKLOG: i32 = 4096;

/// Bytes that the kernel takes for a client and has not sent yet. What is on its way is not among
/// them, so a fast client is no slower for it; of an answer that a slow one does not read the rest
/// stays with the origin. All sockets of a machine share one bound on memory (`net.ipv4.tcp_mem`),
/// and where that is reached the kernel drops what comes for anybody.
const UNSENT_MAX: u32 = 64 * 1024;

/// Which network connections are opened on.
#[derive(Clone, Debug, Default)]
pub enum Net {
    /// The system's.
    #[default]
    System,
    /// The tests'.
    #[cfg(feature = "memory")]
    Memory(crate::memory::MemoryNet),
}

impl Net {
    /// Opens a connection.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, address: &Address) -> Result<Stream, DialError> {
        let dialled = match (self, address) {
            (Net::System, Address::Ip(address)) => socket::dial_tcp(*address).await,
            (_, Address::Unix(path)) => socket::dial_unix(path).await,
            (_, Address::Name { .. }) => return Err(DialError::Failed("name not resolved")),
            #[cfg(feature = "memory")]
            (Net::Memory(net), Address::Ip(address)) => net.dial(*address).await,
        };
        dialled.map_err(|error| DialError::of(&error))
    }
}

/// Who is at the other end of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// This address.
    Ip(SocketAddr),
    /// Somebody on this machine, through a UNIX socket.
    Local,
}

/// Bound sockets that survive workers: one a worker for TCP, one shared for UNIX and for what
/// this process was started with.
#[derive(Debug)]
pub enum Bound {
    /// A `SO_REUSEPORT` group.
    Tcp(Vec<TcpListener>),
    /// One socket, shared, and the path to remove at the end.
    Unix(UnixListener, PathBuf),
    /// One socket, shared, that this process was started with; whoever bound it removes its path.
    Inherited(WorkerSocket),
}

impl Bound {
    /// Binds `bind` with one socket for each of `workers`. `[::]` takes IPv4 too, and is
    /// `0.0.0.0` where there is no IPv6.
    ///
    /// # Errors
    /// What `bind` or `listen` says; `AddrInUse` also where another process would share the port.
    pub fn new(bind: &Bind, workers: usize) -> io::Result<Bound> {
        match bind {
            Bind::Ip(address) => bind_tcp_group(*address, workers, Alone::Yes).map(Bound::Tcp),
            Bind::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                Ok(Bound::Unix(listener, path.clone()))
            }
        }
    }

    /// The same where this process itself may listen on that port already: `127.0.0.1:80` beside
    /// `[::]:80`. Then another of the same user could be there too, and would not be told.
    ///
    /// # Errors
    /// As for [`Bound::new`].
    pub fn beside_own(bind: &Bind, workers: usize) -> io::Result<Bound> {
        match bind {
            Bind::Ip(address) => bind_tcp_group(*address, workers, Alone::No).map(Bound::Tcp),
            Bind::Unix(_) => Bound::new(bind, workers),
        }
    }

    /// Takes a listening socket that this process was started with, by its descriptor.
    ///
    /// # Errors
    /// `NotFound` where there is no such descriptor; `InvalidInput` where it is no listening
    /// socket of TCP or UNIX, or was taken already.
    pub fn inherited(descriptor: RawFd) -> io::Result<Bound> {
        let socket = Socket::from(sys::inherited(descriptor)?);
        // What is no socket has neither a type nor a domain.
        let stream = socket.r#type().is_ok_and(|of| of == Type::STREAM);
        let listens = stream && socket.is_listener()?;
        match socket.domain().map_err(|_| io::ErrorKind::InvalidInput)? {
            Domain::IPV4 | Domain::IPV6 if listens => {
                set_for_clients(&socket)?;
                Ok(Bound::Inherited(WorkerSocket::Tcp(socket.into())))
            }
            Domain::UNIX if listens => Ok(Bound::Inherited(WorkerSocket::Unix(socket.into()))),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Where it listens, with the port the kernel chose.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn address(&self) -> io::Result<Bind> {
        match self {
            Bound::Tcp(group) => {
                let first = group.first().ok_or(io::ErrorKind::NotConnected)?;
                first.local_addr().map(Bind::Ip)
            }
            Bound::Unix(_, path) => Ok(Bind::Unix(path.clone())),
            Bound::Inherited(socket) => socket.address(),
        }
    }

    /// The sockets of one of `workers`; they stay open here too. Every member of a group has a
    /// worker: what is queued on one that nobody takes from would wait for ever.
    ///
    /// # Errors
    /// No descriptor left, or a worker there is no socket for.
    pub fn for_worker(&self, worker: usize, workers: usize) -> io::Result<Vec<WorkerSocket>> {
        match self {
            Bound::Tcp(group) if worker >= group.len() => Err(io::ErrorKind::NotFound.into()),
            Bound::Tcp(group) => {
                let own = group.iter().skip(worker).step_by(workers.max(1));
                own.map(|own| own.try_clone().map(WorkerSocket::Tcp)).collect()
            }
            Bound::Unix(shared, _) => Ok(vec![WorkerSocket::Unix(shared.try_clone()?)]),
            Bound::Inherited(shared) => Ok(vec![shared.try_clone()?]),
        }
    }

    /// Takes over the sockets of a listener that another process has bound to `bind`, for `workers`
    /// of this one. A group that is too small grows; one that is too large stays: a member that is
    /// closed resets what is queued on it.
    ///
    /// # Errors
    /// `InvalidInput` where these are no such sockets, or what `bind` or `listen` says.
    pub fn succeed(bind: &Bind, sockets: Vec<OwnedFd>, workers: usize) -> io::Result<Bound> {
        let mut all = sockets.into_iter().map(listening).collect::<io::Result<Vec<Socket>>>()?;
        if let Bind::Unix(path) = bind {
            let one = all.pop().filter(|_| all.is_empty()).ok_or(io::ErrorKind::InvalidInput)?;
            return Ok(Bound::Unix(one.into(), path.clone()));
        }
        let first = all.first().ok_or(io::ErrorKind::InvalidInput)?;
        let address = first.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
        while all.len() < workers {
            let member = bind_tcp(address, true)?;
            member.listen(BACKLOG)?;
            all.push(member);
        }
        Ok(Bound::Tcp(all.into_iter().map(Socket::into).collect()))
    }

    /// Takes over the one socket that another process was itself started with.
    ///
    /// # Errors
    /// `InvalidInput` where this is no such socket.
    pub fn succeed_inherited(socket: OwnedFd) -> io::Result<Bound> {
        let socket = listening(socket)?;
        Ok(Bound::Inherited(match socket.domain()? {
            Domain::UNIX => WorkerSocket::Unix(socket.into()),
            _ => WorkerSocket::Tcp(socket.into()),
        }))
    }

    /// Its sockets, all of them.
    pub fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Bound::Tcp(group) => group.iter().map(AsFd::as_fd).collect(),
            Bound::Unix(shared, _) | Bound::Inherited(WorkerSocket::Unix(shared)) => {
                vec![shared.as_fd()]
            }
            Bound::Inherited(WorkerSocket::Tcp(shared)) => vec![shared.as_fd()],
        }
    }

    /// Leaves the path of a UNIX socket to whoever has taken the socket over.
    pub fn disown(&mut self) {
        if let Bound::Unix(_, path) = self {
            path.clear();
        }
    }
}

/// A socket that listens, or `InvalidInput`.
fn listening(socket: OwnedFd) -> io::Result<Socket> {
    let socket = Socket::from(socket);
    match socket.is_listener() {
        Ok(true) => Ok(socket),
        Ok(false) | Err(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Bound::Unix(_, path) = self
            && !path.as_os_str().is_empty()
        {
            // Somebody else may have removed it; there is nobody to tell.
            drop(std::fs::remove_file(path));
        }
    }
}

/// A bound socket on its way to its worker.
#[derive(Debug)]
pub enum WorkerSocket {
    /// TCP.
    Tcp(TcpListener),
    /// UNIX.
    Unix(UnixListener),
}

impl WorkerSocket {
    fn try_clone(&self) -> io::Result<WorkerSocket> {
        match self {
            WorkerSocket::Tcp(listener) => listener.try_clone().map(WorkerSocket::Tcp),
            WorkerSocket::Unix(listener) => listener.try_clone().map(WorkerSocket::Unix),
        }
    }

    fn address(&self) -> io::Result<Bind> {
        match self {
            WorkerSocket::Tcp(listener) => listener.local_addr().map(Bind::Ip),
            WorkerSocket::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().unwrap_or(Path::new("(no path)"));
                Ok(Bind::Unix(path.to_owned()))
            }
        }
    }
}

/// A UNIX socket nobody answers on is left over from a process that died. Anything else at that
/// path is somebody's file and stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(seen) if seen.file_type().is_socket() => {}
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => return Ok(()),
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(_) => Ok(()),
    }
}

/// Whether nobody else may have the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alone {
    Yes,
    No,
}

fn bind_tcp_group(
    address: SocketAddr,
    workers: usize,
    alone: Alone,
) -> io::Result<Vec<TcpListener>> {
    let mut address = address;
    if address.port() != 0 && alone == Alone::Yes {
        // With SO_REUSEPORT a second process would share the port in silence; without it, bind
        // tells. This socket never listens.
        let probe = match bind_tcp(address, false) {
            Err(error) if lacks_ipv6(&address, &error) => {
                address = (Ipv4Addr::UNSPECIFIED, address.port()).into();
                bind_tcp(address, false)?
            }
            other => other?,
        };
        drop(probe);
    }
    let first = match bind_tcp(address, true) {
        Err(error) if lacks_ipv6(&address, &error) => {
            bind_tcp((Ipv4Addr::UNSPECIFIED, address.port()).into(), true)?
        }
        other => other?,
    };
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut group = vec![first];
    for _ in 1..workers {
        group.push(bind_tcp(address, true)?);
    }
    group
        .into_iter()
        .map(|socket| {
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

fn lacks_ipv6(address: &SocketAddr, error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    let wildcard = address.is_ipv6() && address.ip().is_unspecified();
    wildcard
        && (error.raw_os_error() == Some(EAFNOSUPPORT)
            || error.kind() == io::ErrorKind::AddrNotAvailable)
}

fn bind_tcp(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    set_for_clients(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Sets what accepted sockets inherit, which saves a system call for each.
fn set_for_clients(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)
}

/// What a worker takes connections from.
#[derive(Debug)]
pub enum Listener {
    /// A socket.
    Socket(Acceptor),
    /// The tests'.
    #[cfg(feature = "memory")]
    Memory(crate::memory::MemoryListener),
}

impl Listener {
    /// Registers a worker's socket with the driver of the thread this is called on.
    ///
    /// # Errors
    /// What the driver says.
    pub fn register(socket: WorkerSocket) -> io::Result<Listener> {
        match socket {
            WorkerSocket::Tcp(listener) => Acceptor::new(listener),
            WorkerSocket::Unix(listener) => Acceptor::new(listener),
        }
        .map(Listener::Socket)
    }

    /// Takes the next connection.
    ///
    /// # Errors
    /// What `accept` says.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        match self {
            Listener::Socket(acceptor) => acceptor.poll_accept(cx).map_ok(with_peer),
            #[cfg(feature = "memory")]
            Listener::Memory(listener) => listener.poll_accept(cx),
        }
    }

    /// Takes a connection that is queued, whether or not that was told already; `None` where
    /// there is none. Whoever is about to close asks: closing resets what is queued.
    ///
    /// # Errors
    /// What `accept` says.
    pub fn take_queued(&mut self) -> io::Result<Option<(Stream, Peer)>> {
        match self {
            Listener::Socket(acceptor) => Ok(acceptor.take_queued()?.map(with_peer)),
            #[cfg(feature = "memory")]
            Listener::Memory(listener) => Ok(listener.take_queued()),
        }
    }
}

fn with_peer((stream, peer): (Stream, Option<SocketAddr>)) -> (Stream, Peer) {
    (stream, peer.map_or(Peer::Local, |peer| Peer::Ip(canonical(peer))))
}

/// An IPv4 client of a dual-stack socket is an IPv4 client.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_port_in_use_is_refused_even_to_a_sharing_group() {
        let bound = Bound::new(&Bind::Ip("127.0.0.1:0".parse().unwrap()), 2).unwrap();
        let Bind::Ip(address) = bound.address().unwrap() else { panic!("not an address") };
        let again = Bound::new(&Bind::Ip(address), 2);
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_accepted_connection_sends_at_once_and_keeps_little_without_being_told_to() {
        let bound = Bound::new(&Bind::Ip("127.0.0.1:0".parse().unwrap()), 1).unwrap();
        let Bind::Ip(address) = bound.address().unwrap() else { panic!("not an address") };
        let own = bound.for_worker(0, 1).unwrap().pop().unwrap();
        let WorkerSocket::Tcp(listener) = own else { panic!("not TCP") };
        let _client = std::net::TcpStream::connect(address).unwrap();
        let accepted = Socket::from(listener.accept().unwrap().0);
        assert!(accepted.tcp_nodelay().unwrap());
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), UNSENT_MAX);
    }

    #[test]
    fn only_a_descriptor_that_came_through_an_exec_is_taken() {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = Bound::inherited(own.as_raw_fd()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        for standard in 0..3 {
            let refused = Bound::inherited(standard).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(Bound::inherited(9999).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let path = std::env::temp_dir().join(format!("gatehouse-net-{}", std::process::id()));
        drop(UnixListener::bind(&path).unwrap());
        let bound = Bound::new(&Bind::Unix(path.clone()), 1).unwrap();
        let again = Bound::new(&Bind::Unix(path.clone()), 1);
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
    }
}
