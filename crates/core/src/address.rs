//! Where things listen and where they are dialled.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a listener binds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// An address; `[::]` takes IPv4 too.
    Ip(SocketAddr),
    /// A UNIX socket.
    Unix(PathBuf),
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A UNIX socket.
    Unix(Arc<Path>),
    /// A name that has to be resolved before it can be dialled.
    Name {
        /// The host name, lower case.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
}
