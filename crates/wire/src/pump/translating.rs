//! gRPC-Web on its way, and what the trailers say of a call.

use super::{Batch, Pump, PumpError};
use crate::grpc_web::Web;
use gatehouse_core::message::Fields;

impl Pump {
    /// Makes this of the body on its way. Its length changes: the head must not tell it.
    pub fn translate(&mut self, web: Web) {
        self.web = Some(Box::new(web));
    }

    /// The status of the gRPC call whose answer this is, where its trailers have come and say it.
    pub fn call_status(&self) -> Option<u8> {
        self.call_status
    }
}

/// Makes of `data` what is to be written, and says how much that is.
pub(super) fn translate(web: &mut Web, data: &[u8], batch: &mut Batch) -> Result<usize, PumpError> {
    batch.made.clear();
    web.write(data, &mut batch.made).map_err(PumpError::Malformed)?;
    Ok(batch.made.len())
}

/// Makes what ends the body of its trailers; says how much there is to be written then.
pub(super) fn end(
    web: &mut Web,
    trailers: Option<Box<Fields>>,
    batch: &mut Batch,
) -> Result<usize, PumpError> {
    web.end(trailers.as_deref(), &mut batch.made).map_err(PumpError::Malformed)?;
    // Those of a request are still trailers; those of an answer are in its body now.
    batch.fields = trailers.filter(|_| matches!(web, Web::FromText(_)));
    Ok(batch.made.len())
}
