//! Who the gateway is, and whom it believes: made by the control side from files, published beside
//! the Plan and swapped without it when a file changes.

use gatehouse_core::plan::{ListenerId, UpstreamId};
use gatehouse_wire::tls::{ClientSide, ServerSide};
use std::sync::Arc;

/// The TLS sides of a plan's listeners and upstreams, by their places in it.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// A server's side for each listener under TLS.
    pub listeners: Vec<Option<Arc<ServerSide>>>,
    /// A client's side for each upstream that has an endpoint under TLS.
    pub upstreams: Vec<Option<Arc<ClientSide>>>,
}

impl Credentials {
    pub(crate) fn listener(&self, id: ListenerId) -> Option<&Arc<ServerSide>> {
        self.listeners.get(usize::from(id.0))?.as_ref()
    }

    pub(crate) fn upstream(&self, id: UpstreamId) -> Option<&Arc<ClientSide>> {
        self.upstreams.get(id.0 as usize)?.as_ref()
    }
}
