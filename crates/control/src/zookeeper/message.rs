//! What is asked of a ZooKeeper server, and how its answers are read. The numbers are those of
//! ZooKeeper's own `ZooDefs` and `KeeperException`.

use super::jute::{Malformed, Reader, Writer};
use std::fmt;

/// Operations.
pub(super) const CREATE: i32 = 1;
pub(super) const DELETE: i32 = 2;
pub(super) const EXISTS: i32 = 3;
pub(super) const GET: i32 = 4;
pub(super) const SET: i32 = 5;
pub(super) const PING: i32 = 11;
pub(super) const CHILDREN: i32 = 12;
pub(super) const MULTI: i32 = 14;
pub(super) const AUTH: i32 = 100;
pub(super) const SASL: i32 = 102;
pub(super) const CLOSE: i32 = -11;

/// Numbers of messages that answer no request of their own.
pub(super) const EVENT_XID: i32 = -1;
pub(super) const PING_XID: i32 = -2;
pub(super) const AUTH_XID: i32 = -4;

/// All that may be done to a node.
const PERMISSIONS_ALL: i32 = 31;
/// Reading it.
const PERMISSION_READ: i32 = 1;

/// Why a server refuses something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub i32);

impl Code {
    pub const NO_NODE: Code = Code(-101);
    pub const NO_AUTH: Code = Code(-102);
    pub const BAD_VERSION: Code = Code(-103);
    pub const NO_CHILDREN_FOR_EPHEMERALS: Code = Code(-108);
    pub const NODE_EXISTS: Code = Code(-110);
    pub const SESSION_EXPIRED: Code = Code(-112);
    pub const INVALID_ACL: Code = Code(-114);
    pub const AUTH_FAILED: Code = Code(-115);
    pub const SASL_REQUIRED: Code = Code(-124);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Code::NO_NODE => "does not exist",
            Code::NO_AUTH => "may not be touched by who we are: check user, password and ACL",
            Code::BAD_VERSION => "has another version by now",
            Code::NO_CHILDREN_FOR_EPHEMERALS => "is ephemeral and can have no children",
            Code::NODE_EXISTS => "exists already",
            Code::SESSION_EXPIRED => "the session has expired",
            Code::INVALID_ACL => "cannot have this ACL: it needs a user",
            Code::AUTH_FAILED => "the server refuses user or password",
            Code::SASL_REQUIRED => "the server wants SASL: write mechanism = \"digest-md5\"",
            Code(other) => return write!(f, "the server says error {other}"),
        };
        f.write_str(text)
    }
}

/// What is known of a node beside its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The change that made it; later ones have greater numbers.
    pub created: i64,
    /// When it was last changed, in milliseconds since 1970.
    pub changed_at: i64,
    /// How often its content was changed.
    pub version: i32,
    /// The session it ends with; 0 where it stays.
    pub owner: i64,
    /// Bytes of its content.
    pub bytes: i32,
    /// How many children it has.
    pub children: i32,
}

pub(super) fn stat(reader: &mut Reader<'_>) -> Result<Stat, Malformed> {
    let created = reader.long()?;
    let _modified = reader.long()?;
    let _created_at = reader.long()?;
    let changed_at = reader.long()?;
    let version = reader.int()?;
    let _children_version = reader.int()?;
    let _acl_version = reader.int()?;
    let owner = reader.long()?;
    let bytes = reader.int()?;
    let children = reader.int()?;
    let _children_changed = reader.long()?;
    Ok(Stat { created, changed_at, version, owner, bytes, children })
}

/// Whether the server tells of the next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Yes,
    No,
}

/// How long a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Until somebody deletes it.
    Stays,
    /// As long as the session.
    Session,
}

/// Who may do what with a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Acl {
    /// Anybody anything.
    #[default]
    Open,
    /// Who made it anything, anybody read.
    Creator,
}

pub(super) fn path_and_watch(path: &str, watch: Watch) -> Writer {
    Writer::default().text(path).flag(watch == Watch::Yes)
}

pub(super) fn create(path: &str, content: &[u8], life: Life, acl: Acl) -> Writer {
    let out = Writer::default().text(path).bytes(content);
    let out = match acl {
        Acl::Open => out.int(1).int(PERMISSIONS_ALL).text("world").text("anyone"),
        Acl::Creator => out
            .int(2)
            .int(PERMISSIONS_ALL)
            .text("auth")
            .text("")
            .int(PERMISSION_READ)
            .text("world")
            .text("anyone"),
    };
    out.int(match life {
        Life::Stays => 0,
        Life::Session => 1,
    })
}

pub(super) fn set(path: &str, content: &[u8], version: i32) -> Writer {
    Writer::default().text(path).bytes(content).int(version)
}

pub(super) fn delete(path: &str, version: i32) -> Writer {
    Writer::default().text(path).int(version)
}

/// Several operations that are done all or not at all.
pub(super) fn multi(all: Vec<(i32, Writer)>) -> Writer {
    let each = |out: Writer, (op, body)| out.int(op).flag(false).int(-1).record(body);
    all.into_iter().fold(Writer::default(), each).int(-1).flag(true).int(-1)
}

/// Why nothing of several operations was done; `None` where all was.
pub(super) fn multi_fault(mut reader: Reader<'_>) -> Result<Option<Code>, Malformed> {
    let mut fault = None;
    loop {
        let (op, done, _) = (reader.int()?, reader.flag()?, reader.int()?);
        if done {
            return Ok(fault);
        }
        match op {
            // Of one that failed, or that was not tried: those say 0 and -2.
            -1 => {
                let code = Code(reader.int()?);
                if code.0 < 0 && code.0 != -2 {
                    fault = fault.or(Some(code));
                }
            }
            CREATE => drop(reader.text()?),
            DELETE => {}
            SET => drop(stat(&mut reader)?),
            _ => return Err(Malformed),
        }
    }
}

/// Who one is, on a connection that was just opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    /// 0 where there is no session yet.
    pub session: i64,
    pub password: Vec<u8>,
    /// The last change that was seen: a server that has not seen it does not take the session.
    pub seen: i64,
}

pub(super) fn connect(credentials: &Credentials, timeout_ms: i32) -> Writer {
    let out = Writer::default().int(0).long(credentials.seen).int(timeout_ms);
    let out = out.long(credentials.session);
    match credentials.password.is_empty() {
        true => out.bytes(&[0; 16]),
        false => out.bytes(&credentials.password),
    }
    .flag(false)
}

/// What a server grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// How long the session outlives silence, in milliseconds; 0 or less where it has expired.
    pub timeout_ms: i32,
    pub session: i64,
    pub password: Vec<u8>,
}

pub(super) fn granted(mut reader: Reader<'_>) -> Result<Granted, Malformed> {
    let _version = reader.int()?;
    let timeout_ms = reader.int()?;
    let session = reader.long()?;
    Ok(Granted { timeout_ms, session, password: reader.bytes()?.to_vec() })
}

/// What every answer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub xid: i32,
    pub seen: i64,
    pub code: Code,
}

pub(super) fn head(reader: &mut Reader<'_>) -> Result<Head, Malformed> {
    Ok(Head { xid: reader.int()?, seen: reader.long()?, code: Code(reader.int()?) })
}

/// What has happened to a node that was watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happened {
    Created,
    Deleted,
    /// Its content was changed.
    Changed,
    /// A child has come or gone.
    Children,
}

/// An event; `None` where it is of the session.
pub(super) fn event<'a>(reader: &mut Reader<'a>) -> Result<Option<(Happened, &'a str)>, Malformed> {
    let (kind, _state, path) = (reader.int()?, reader.int()?, reader.text()?);
    let happened = match kind {
        1 => Happened::Created,
        2 => Happened::Deleted,
        3 => Happened::Changed,
        4 => Happened::Children,
        _ => return Ok(None),
    };
    Ok(Some((happened, path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_several_operations_the_first_real_fault_counts() {
        let entry = |op, code| Writer::default().int(op).flag(false).int(code);
        let end = || Writer::default().int(-1).flag(true).int(-1);
        let failed = entry(-1, 0)
            .int(0)
            .record(entry(-1, -103).int(-103))
            .record(entry(-1, -2).int(-2))
            .record(end());
        assert_eq!(multi_fault(Reader(&failed.0)), Ok(Some(Code::BAD_VERSION)));
        let done = entry(DELETE, 0).record(entry(CREATE, 0).text("/a")).record(end());
        assert_eq!(multi_fault(Reader(&done.0)), Ok(None));
    }

    proptest! {
        #[test]
        fn whatever_a_server_sends_is_read_without_a_panic(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            let _ = head(&mut reader);
            let _ = (event(&mut reader), stat(&mut Reader(&bytes)), granted(Reader(&bytes)));
            let _ = (multi_fault(Reader(&bytes)), Reader(&bytes).texts());
        }
    }
}
