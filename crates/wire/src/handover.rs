//! The line between a process and the one that is to follow it: packets of text, with listening
//! sockets beside them (unix(7), SCM_RIGHTS). The successor finds its end as its standard input.
//!
//! Descriptors go through the kernel and not through an exec, so that none is ever open in a
//! process that does not know of it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The longest text of one packet, in bytes.
pub const TEXT_MAX: usize = 4096;

/// The most sockets of one packet; the kernel takes 253.
pub const SOCKETS_MAX: usize = 128;

const ROOM: usize = rustix::cmsg_space!(ScmRights(SOCKETS_MAX));

/// One end of the line.
#[derive(Debug)]
pub struct Line(OwnedFd);

/// What was received.
#[derive(Debug)]
pub struct Packet {
    /// The text.
    pub text: String,
    /// The sockets beside it.
    pub sockets: Vec<OwnedFd>,
}

impl Line {
    /// This process's end, and what becomes the successor's standard input.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn pair() -> io::Result<(Line, OwnedFd)> {
        let (own, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Line(own), other))
    }

    /// The other end, in the hands of this process too: for tests of both.
    pub fn of(end: OwnedFd) -> Line {
        Line(end)
    }

    /// The line this process was started with; its standard input is empty from then on.
    ///
    /// # Errors
    /// Where standard input is no such line.
    pub fn from_stdin() -> io::Result<Line> {
        let line = io::stdin().as_fd().try_clone_to_owned()?;
        if rustix::net::sockopt::socket_type(&line)? != SocketType::SEQPACKET {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Line(line))
    }

    /// Sends a packet within `limit`; the sockets stay open here too.
    ///
    /// # Errors
    /// `InvalidInput` for a text or a list that is too long, `TimedOut`, or `BrokenPipe` where the
    /// other end is gone.
    pub fn send(&self, text: &str, sockets: &[BorrowedFd<'_>], limit: Duration) -> io::Result<()> {
        if text.len() > TEXT_MAX || sockets.len() > SOCKETS_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let end = Instant::now() + limit;
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            let mut room = [MaybeUninit::uninit(); ROOM];
            let mut beside = SendAncillaryBuffer::new(&mut room);
            if !sockets.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(sockets)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            match sendmsg(&self.0, &[IoSlice::new(text.as_bytes())], &mut beside, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN | Errno::INTR) => self.wait(PollFlags::OUT, end)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives a packet within `limit`; `None` where the other end is gone.
    ///
    /// # Errors
    /// `TimedOut`, or `InvalidData` for a packet that is none of this line's.
    pub fn receive(&self, limit: Duration) -> io::Result<Option<Packet>> {
        let end = Instant::now() + limit;
        loop {
            let mut text = [0; TEXT_MAX];
            let mut room = [MaybeUninit::uninit(); ROOM];
            let mut beside = RecvAncillaryBuffer::new(&mut room);
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let got = recvmsg(&self.0, &mut [IoSliceMut::new(&mut text)], &mut beside, flags);
            let got = match got {
                Ok(got) => got,
                Err(Errno::AGAIN | Errno::INTR) => {
                    self.wait(PollFlags::IN, end)?;
                    continue;
                }
                Err(Errno::CONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let mut sockets = Vec::new();
            for message in beside.drain() {
                if let RecvAncillaryMessage::ScmRights(all) = message {
                    sockets.extend(all);
                }
            }
            if got.bytes == 0 {
                return Ok(None);
            }
            let text = std::str::from_utf8(text.get(..got.bytes).unwrap_or_default());
            let text = text.map_err(|_| io::ErrorKind::InvalidData)?.to_owned();
            return Ok(Some(Packet { text, sockets }));
        }
    }

    fn wait(&self, for_what: PollFlags, end: Instant) -> io::Result<()> {
        let left = end.saturating_duration_since(Instant::now());
        let wait = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&self.0, for_what)], Some(&wait)) {
            Ok(0) if left.is_zero() => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn texts_and_sockets_arrive_together_and_in_order() {
        let (own, other) = Line::pair().unwrap();
        let other = Line(other);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        own.send("first", &[listener.as_fd(); SOCKETS_MAX], SOON).unwrap();
        own.send("second", &[], SOON).unwrap();
        let first = other.receive(SOON).unwrap().unwrap();
        assert_eq!((&*first.text, first.sockets.len()), ("first", SOCKETS_MAX));
        let taken = TcpListener::from(first.sockets.into_iter().next().unwrap());
        let address = listener.local_addr().unwrap();
        drop(listener);
        // It is the same socket: it outlives the one it was made from.
        let waiting = TcpStream::connect(address).unwrap();
        assert_eq!(taken.accept().unwrap().1, waiting.local_addr().unwrap());
        let second = other.receive(SOON).unwrap().unwrap();
        assert_eq!((&*second.text, second.sockets.len()), ("second", 0));
    }

    #[test]
    fn an_end_that_is_gone_or_silent_is_told_apart() {
        let (own, other) = Line::pair().unwrap();
        let silent = own.receive(Duration::from_millis(20)).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        drop(other);
        assert!(own.receive(SOON).unwrap().is_none());
        assert_eq!(own.send("x", &[], SOON).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let long = "x".repeat(TEXT_MAX + 1);
        assert_eq!(own.send(&long, &[], SOON).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
