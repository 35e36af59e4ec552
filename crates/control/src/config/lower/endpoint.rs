//! One endpoint: `host:port`, `http://host:port/base`, the same with `https`, or `unix:/path`.

use super::super::render::without_userinfo;
use super::super::tree::{Table, Text};
use super::{Fault, Lower, matcher};
use gatehouse_core::plan::{Address, EndpointSpec};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

impl Lower<'_> {
    /// Lowers an endpoint with the table it stands in, if it does.
    pub(super) fn endpoint(
        &mut self,
        written: Text<'_>,
        table: Option<&Table>,
    ) -> Option<EndpointSpec> {
        let Text { text, place } = written;
        let Parsed { address, base_path, tls } = match text.strip_prefix("unix:") {
            Some(path) => {
                let address = Address::Unix(self.unix_path(path, place)?.into());
                Parsed { address, base_path: "".into(), tls: None }
            }
            None => match parse(text) {
                Ok(parsed) => parsed,
                Err(fault) => {
                    self.fault(place, fault);
                    return None;
                }
            },
        };
        let count = |name| table.and_then(|table| table.count(name));
        Some(EndpointSpec {
            text: text.into(),
            address,
            tls,
            base_path,
            weight: count("weight").map_or(1, |weight| u16::try_from(weight).unwrap_or(u16::MAX)),
            connections_max: count("max-connections")
                .map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
            backup: table.and_then(|table| table.flag("backup")).unwrap_or(false),
        })
    }
}

/// An endpoint that is found: `host:port`, `[::1]:port` or `unix:/path`, without a scheme.
///
/// # Errors
/// Why it is none, and what is to be written.
pub(crate) fn endpoint_address(text: &str) -> Result<Address, String> {
    let bad = |hint: String| format!("\"{}\" is no endpoint: {hint}", text.escape_debug());
    match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') && !path.contains('\0') => {
            Ok(Address::Unix(PathBuf::from(path).into()))
        }
        Some(_) => Err(bad("write \"unix:/path\"".to_owned())),
        None if text.contains('/') => Err(bad("write \"host:port\", without a scheme".to_owned())),
        None => parse_authority(text, None).map_err(bad),
    }
}

/// What an endpoint's text says.
pub(super) struct Parsed {
    pub address: Address,
    pub base_path: Arc<str>,
    /// Who it has to be, where it is spoken to under TLS.
    pub tls: Option<Arc<str>>,
}

pub(super) fn parse(text: &str) -> Result<Parsed, Fault> {
    let shown = without_userinfo(text);
    let bad = || Fault::bad(format!("\"{}\" is no endpoint", shown.escape_debug()));
    let Some((scheme, rest)) = text.split_once("://") else {
        if text.contains('/') {
            return Err(bad().hint(format!("a base path needs a scheme: \"http://{text}\"")));
        }
        let address = parse_authority(text, None).map_err(|hint| bad().hint(hint))?;
        return Ok(Parsed { address, base_path: "".into(), tls: None });
    };
    let usual_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err(bad().hint("write \"host:port\", \"http://host:port\" or \"unix:/path\"")),
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let address = parse_authority(authority, Some(usual_port)).map_err(|hint| bad().hint(hint))?;
    let tls = (scheme == "https").then(|| match &address {
        Address::Ip(address) => address.ip().to_string().into(),
        Address::Name { host, .. } => Arc::clone(host),
        // No URL is a UNIX socket's.
        Address::Unix(_) => "localhost".into(),
    });
    Ok(Parsed { address, base_path: parse_base(path)?.into(), tls })
}

/// A base path: empty, or `/base` without a slash at the end.
fn parse_base(path: &str) -> Result<&str, Fault> {
    let base = path.trim_end_matches('/');
    if base.is_empty() && !path.starts_with(['?', '#']) {
        return Ok("");
    }
    if base.contains(['?', '#']) {
        return Err(Fault::bad("an endpoint has no query and no fragment").hint("take them out"));
    }
    matcher::normal_path(base)?;
    Ok(base)
}

/// An address and port; the error is a hint.
fn parse_authority(text: &str, default_port: Option<u16>) -> Result<Address, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err("port 0 cannot be dialled".to_owned()),
            _ => Ok(Address::Ip(address)),
        };
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("write \"127.0.0.1:{text}\" for a port of this machine"));
    }
    if text.contains('@') {
        return Err("an endpoint carries no user and password".to_owned());
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Ok(v6) = bare.unwrap_or(text).parse::<Ipv6Addr>() {
        return match default_port {
            Some(port) if bare.is_some() => Ok(Address::Ip(SocketAddr::new(v6.into(), port))),
            _ => Err(format!("write \"[{v6}]:80\"")),
        };
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => match port.parse::<u16>() {
            Ok(port) if port > 0 && !host.contains(':') => (host, port),
            _ => return Err("the port is a number from 1 to 65535".to_owned()),
        },
        None => match default_port {
            Some(port) => (text, port),
            None if matcher::is_host_name(text) => return Err(format!("write \"{text}:80\"")),
            None => return Err("write \"host:port\"".to_owned()),
        },
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Address::Ip(SocketAddr::new(ip, port)));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let numeric = name.rsplit('.').next().is_some_and(|label| label.parse::<u64>().is_ok());
    match matcher::is_host_name(&name) && !numeric {
        true => Ok(Address::Name { host: name.into(), port }),
        false => Err(format!("\"{}\" is neither an address nor a host name", host.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Paint, load_text, render};

    #[test]
    fn a_password_in_an_endpoint_is_refused_and_not_repeated() {
        let text = "[listeners.web]\nbind = \":80\"\n[[routes]]\n\
                    upstream = { endpoints = [\"http://me:hush@h\"] }\n";
        let said = render(&load_text("test.toml", text, &[]), Paint::Plain);
        assert!(said.contains("no user and password"), "{said}");
        assert!(!said.contains("hush"), "{said}");
    }
}
