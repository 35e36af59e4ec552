//! Header fields: names, values, and edits of them.

use super::super::problem::{Kind, Problem};
use super::super::tree::{Named, Table, Text};
use super::{Fault, Lower};
use gatehouse_core::message::Known;
use gatehouse_core::plan::{Edits, FieldEdit};

/// The longest field value that is written.
const VALUE_BYTES_MAX: usize = 8 * 1024;

/// Fields that frame a message or belong to one connection (RFC 9110 section 7.6.1).
const FRAMING: [Known; 8] = [
    Known::Connection,
    Known::ContentLength,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::Trailer,
];

/// Which message is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Request,
    Response,
}

impl Lower<'_> {
    pub(super) fn edits(&mut self, table: Option<&Table>, of: Of) -> Edits {
        let mut edits = Edits::default();
        let Some(table) = table else { return edits };
        for text in table.texts("remove") {
            let Some(name) = self.edited_name(text) else { continue };
            if of == Of::Request && &*name == "host" {
                let reason = "a request needs its `host`: it cannot be removed";
                self.error_hint(Kind::BadValue, text.place, reason, "set it instead");
            }
            edits.remove.push(name);
        }
        edits.set = self.field_edits(table.map("set"));
        edits.add = self.field_edits(table.map("add"));
        for named in table.map("set") {
            if edits.remove.iter().any(|name| name.eq_ignore_ascii_case(&named.name)) {
                let reason = format!("`{}` is removed and set", named.name);
                let hint = "`set` alone replaces what was there";
                self.error_hint(Kind::NotApplicable, named.place, reason, hint);
            }
        }
        let host = table.map("add").iter().find(|named| named.name.eq_ignore_ascii_case("host"));
        if let Some(named) = host.filter(|_| of == Of::Request) {
            let reason = "a request has one `host`: none can be added";
            self.error_hint(Kind::BadValue, named.place, reason, "set it instead");
        }
        edits
    }

    fn field_edits(&mut self, all: &[Named]) -> Vec<FieldEdit> {
        let mut edits: Vec<FieldEdit> = Vec::with_capacity(all.len());
        for named in all {
            let name = Text { text: &named.name, place: named.place };
            let (Some(name), Some(value)) = (self.edited_name(name), named.item.text()) else {
                continue;
            };
            if edits.iter().any(|edit| edit.name == name) {
                let reason = format!("`{name}` is given twice, in different case");
                self.error(Kind::Duplicate, named.place, reason);
            }
            match field_value(value.text) {
                Ok(value) => edits.push(FieldEdit { name, value }),
                Err(fault) => self.fault(value.place, fault),
            }
        }
        edits
    }

    /// A field name that may be edited.
    pub(super) fn edited_name(&mut self, Text { text, place }: Text<'_>) -> Option<Box<str>> {
        let name = match field_name(text) {
            Ok(name) => name,
            Err(fault) => {
                self.fault(place, fault);
                return None;
            }
        };
        if FRAMING.contains(&Known::of(name.as_bytes())) {
            let reason = format!(
                "`{name}` frames a message or belongs to one connection: it cannot be edited"
            );
            self.report.add(Problem::error(Kind::BadValue, place, reason));
            return None;
        }
        Some(name)
    }
}

/// Whether a text is a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// A field name in lower case.
pub(super) fn field_name(text: &str) -> Result<Box<str>, Fault> {
    match is_token(text) && text.len() <= 256 {
        true => Ok(text.to_ascii_lowercase().into()),
        false => Err(Fault::bad(format!("\"{}\" is no field name", text.escape_debug()))
            .hint("letters, digits and `-`")),
    }
}

/// A field value without control characters and without white space at its ends.
pub(super) fn field_value(text: &str) -> Result<Box<str>, Fault> {
    if text.len() > VALUE_BYTES_MAX {
        let reason = format!("a field value of {} bytes", text.len());
        return Err(Fault::bad(reason).hint(format!("{VALUE_BYTES_MAX} is the most")));
    }
    if let Some(control) = text.chars().find(|c| c.is_ascii_control() && *c != '\t') {
        let reason = format!("a field value with {} in it", control.escape_debug());
        return Err(Fault::bad(reason).hint("field values are one line without control characters"));
    }
    if text.trim_matches([' ', '\t']) != text {
        return Err(Fault::bad("a field value with white space at its start or end"));
    }
    Ok(text.into())
}
