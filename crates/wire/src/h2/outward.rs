//! Heads and trailers as the h2 crate takes them. Fields of one connection stay behind; names
//! become lower case.

use super::stream::Unsendable;
use bytes::Bytes;
use gatehouse_core::message::{Field, Fields, Known, RequestHead, ResponseHead};
use http::header::{HeaderMap, HeaderName, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};

/// A request on its way to an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Its head, edited.
    pub head: &'a RequestHead,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Whom it asks.
    pub authority: &'a [u8],
    /// What stands before the target.
    pub base: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// Whether the client has said that it reads trailers.
    pub trailers: bool,
}

/// A request's head.
pub(super) fn request(ask: &Ask<'_>) -> Result<Request<()>, Unsendable> {
    const METHOD: Unsendable = Unsendable("the method is no token");
    const TARGET: Unsendable = Unsendable("the target cannot be written as HTTP/2");
    let method = ask.head.text(ask.head.method_text);
    let mut path = Vec::with_capacity(ask.base.len() + ask.target.len());
    path.extend_from_slice(ask.base);
    path.extend_from_slice(ask.target);
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(path).map_err(|_| TARGET)?);
    parts.authority = Some(Authority::try_from(ask.authority).map_err(|_| TARGET)?);
    parts.scheme = Some(if ask.scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).map_err(|_| METHOD)?;
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| TARGET)?;
    *request.version_mut() = http::Version::HTTP_2;
    // `Host` is what `:authority` says.
    let mut map = fields(&ask.head.fields, |known| known != Known::Host)?;
    if ask.trailers {
        map.insert(TE, HeaderValue::from_static("trailers"));
    }
    *request.headers_mut() = map;
    Ok(request)
}

/// An answer's head.
pub(super) fn answer(head: &ResponseHead) -> Result<Response<()>, Unsendable> {
    let mut answer = Response::new(());
    *answer.status_mut() =
        StatusCode::from_u16(head.status).map_err(|_| Unsendable("the status is no number"))?;
    *answer.headers_mut() = fields(&head.fields, |_| true)?;
    Ok(answer)
}

/// Trailers.
pub(super) fn trailers(of: &Fields) -> Result<HeaderMap, Unsendable> {
    fields(of, |_| true)
}

/// The fields that are left, but for those of one connection and those not `wanted`. All values
/// share one copy of the head's bytes.
fn fields(of: &Fields, wanted: impl Fn(Known) -> bool) -> Result<HeaderMap, Unsendable> {
    let table = of.table();
    let mut map = HeaderMap::with_capacity(table.len());
    let shared = Bytes::copy_from_slice(of.bytes());
    let rows = table.iter().filter(|field| {
        !field.dropped && !is_of_one_connection(field.known) && wanted(field.known)
    });
    for Field { name, value, .. } in rows {
        let name = HeaderName::from_bytes(name.of(of.bytes()))
            .map_err(|_| Unsendable("a field name cannot be written as HTTP/2"))?;
        let text = shared.slice(value.start as usize..value.end as usize);
        let value = HeaderValue::from_maybe_shared(text)
            .map_err(|_| Unsendable("a field value cannot be written as HTTP/2"))?;
        map.append(name, value);
    }
    Ok(map)
}

/// RFC 9113 section 8.2.2.
fn is_of_one_connection(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::Te
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_connection_stay_behind() {
        let mut head = ResponseHead { status: 200, ..ResponseHead::default() };
        for (name, value) in [
            (&b"X-One"[..], &b"1"[..]),
            (b"Connection", b"close"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Keep-Alive", b"5"),
            (b"Upgrade", b"h2c"),
            (b"x-one", b"2"),
        ] {
            head.fields.append(name, value);
        }
        let answer = answer(&head).unwrap();
        let lines: Vec<_> =
            answer.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(lines, [("x-one", "1"), ("x-one", "2")]);
    }

    #[test]
    fn a_request_names_its_host_once() {
        let mut head = RequestHead::default();
        head.method_text = head.fields.note(b"OPTIONS");
        head.fields.append(b"Host", b"a");
        let ask = Ask {
            head: &head,
            scheme: "http",
            authority: b"b:80",
            base: b"",
            target: b"*",
            trailers: true,
        };
        let request = request(&ask).unwrap();
        assert_eq!(request.uri().authority().unwrap().as_str(), "b:80");
        assert_eq!(request.uri().path(), "*");
        assert_eq!(request.headers().len(), 1);
        assert_eq!(request.headers()[TE], "trailers");
    }
}
