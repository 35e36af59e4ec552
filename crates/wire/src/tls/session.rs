//! rustls's state machine, driven one step at a time over buffers of ours.

use super::room::Room;
use rustls::CommonState;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use std::fmt;
use std::ops::Deref;

/// One end of a TLS connection. The two are about a kilobyte either way; the stream they stand in
/// is boxed.
#[allow(clippy::large_enum_variant, reason = "both are large, and stand in a box")]
pub(super) enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Session::Server(_) => "Server",
            Session::Client(_) => "Client",
        })
    }
}

impl Deref for Session {
    type Target = CommonState;

    fn deref(&self) -> &CommonState {
        match self {
            Session::Server(session) => session,
            Session::Client(session) => session,
        }
    }
}

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes of plaintext were put into the room; more may be in the spill.
    Plain(usize),
    /// Something moved; there may be more to do.
    Again,
    /// Nothing more can be done without more from the peer; the handshake goes on.
    Handshaking,
    /// The same, and data may be sent. What was to be done has been done.
    Open,
    /// The peer has said that it sends no more.
    PeerClosed,
}

/// What to do once data may be sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task<'a> {
    Nothing,
    /// Protects this and appends it to the output.
    Seal(&'a [u8]),
    /// Says that no more is sent.
    Close,
}

/// Where one step reads and writes.
#[derive(Debug)]
pub(super) struct Ports<'a> {
    pub input: &'a mut Room,
    pub output: &'a mut Room,
    /// Where plaintext goes first.
    pub room: &'a mut [u8],
    /// Where plaintext goes that finds no room.
    pub spill: &'a mut Vec<u8>,
}

/// Bytes that protecting one record adds at most: its header, a nonce, a tag, a type.
pub(super) const OVERHEAD_BYTES: usize = 5 + 8 + 16 + 1;

impl Session {
    /// Takes one step.
    pub fn step(&mut self, ports: &mut Ports<'_>, task: Task<'_>) -> Result<Step, rustls::Error> {
        let Ports { input, output, room, spill } = ports;
        let (discard, step) = match self {
            Session::Server(session) => {
                let status = session.process_tls_records(input.bytes_mut());
                take(status, output, room, spill, task)
            }
            Session::Client(session) => {
                let status = session.process_tls_records(input.bytes_mut());
                take(status, output, room, spill, task)
            }
        };
        input.consume(discard);
        step
    }
}

fn take<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    output: &mut Room,
    room: &mut [u8],
    spill: &mut Vec<u8>,
    task: Task<'_>,
) -> (usize, Result<Step, rustls::Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => match traffic.next_record() {
            None => Ok(Step::Again),
            Some(Err(error)) => Err(error),
            Some(Ok(record)) => {
                discard += record.discard;
                let fits = record.payload.len().min(room.len());
                room[..fits].copy_from_slice(&record.payload[..fits]);
                spill.extend_from_slice(&record.payload[fits..]);
                Ok(Step::Plain(fits))
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => write_sized(output, 1024, |free| {
            data.encode(free).map_err(|error| match error {
                EncodeError::InsufficientSize(size) => Some(size),
                EncodeError::AlreadyEncoded => None,
            })
        })
        .map(|()| Step::Again),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // The output is sent by whoever waits next, and before anything else.
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Handshaking),
        Ok(ConnectionState::WriteTraffic(traffic)) => perform(traffic, output, task),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Step::PeerClosed),
        // Early data is never allowed; whatever a later version adds is not understood.
        Ok(_) => Err(rustls::Error::General("unexpected state".to_owned())),
    };
    (discard, step)
}

fn perform<Data>(
    mut traffic: WriteTraffic<'_, Data>,
    output: &mut Room,
    task: Task<'_>,
) -> Result<Step, rustls::Error> {
    let size = |error| match error {
        EncryptError::InsufficientSize(size) => Some(size),
        EncryptError::EncryptExhausted => None,
    };
    match task {
        Task::Nothing => {}
        Task::Seal(data) => {
            let records = data.len().div_ceil(super::stream::RECORD_PLAIN_MAX);
            let guess = data.len() + records * OVERHEAD_BYTES;
            write_sized(output, guess, |free| traffic.encrypt(data, free).map_err(size))?;
        }
        Task::Close => {
            write_sized(output, 64, |free| traffic.queue_close_notify(free).map_err(size))?;
        }
    }
    Ok(Step::Open)
}

/// Writes with as much room as it turns out to take. `None` as an error is one that more room does
/// not mend.
fn write_sized(
    output: &mut Room,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Result<(), rustls::Error> {
    let mut bytes = guess;
    // Once by guess, once as told.
    for _ in 0..2 {
        match write(output.free(bytes)) {
            Ok(count) => {
                output.commit(count);
                return Ok(());
            }
            Err(Some(size)) => bytes = size.required_size,
            Err(None) => break,
        }
    }
    Err(rustls::Error::EncryptError)
}
