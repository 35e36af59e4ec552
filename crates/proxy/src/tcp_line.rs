//! One TCP connection as a line of the access log.

use crate::client::Client;
use crate::date::Calendar;
use crate::line::{escape_hex, put_failure, put_hex, put_millis, put_number, put_path, put_text};
use crate::tcp::Connection;
use crate::trace::Trace;
use gatehouse_core::moment::Moment;
use gatehouse_wire::tunnel::Side;

/// What a line is made of.
pub(crate) struct TcpLine<'a> {
    pub client: &'a Client,
    pub connection: &'a Connection,
    pub trace: &'a Trace,
    pub ended: Moment,
    pub calendar: &'a Calendar,
}

impl TcpLine<'_> {
    /// One JSON object. What it has in common with the line of a request has the same name;
    /// `ended` says which side sent its FIN first, `failure` what cut it short.
    pub fn json(&self, out: &mut Vec<u8>) {
        let TcpLine { client, connection, trace, ended, calendar } = self;
        out.extend_from_slice(b"{\"time\":\"");
        calendar.write_rfc3339(*ended, out);
        out.extend_from_slice(b"\",\"id\":\"");
        put_hex(out, trace.id);
        out.push(b'"');
        put_text(out, b",\"client\":\"", client.peer_text.bytes());
        put_text(out, b",\"protocol\":\"", b"tcp");
        put_text(out, b",\"listener\":\"", client.rules().name.as_bytes());
        if let Some(name) = &connection.name {
            put_text(out, b",\"host\":\"", name.as_bytes());
        }
        put_millis(out, b",\"duration_ms\":", ended.micros_since(trace.started));
        if let Some(answered) = trace.answered {
            put_millis(out, b",\"connect_ms\":", answered.micros_since(trace.started));
        }
        put_number(out, b",\"received\":", trace.received_bytes);
        put_number(out, b",\"sent\":", trace.sent_bytes);
        put_path(trace, out);
        if let Some(side) = connection.ended_first {
            let word: &[u8] = match side {
                Side::First => b"client",
                Side::Second => b"upstream",
            };
            put_text(out, b",\"ended\":\"", word);
        }
        put_failure(trace, out);
        out.extend_from_slice(b"}\n");
    }

    /// The combined format, with the listener and the server name where a request has its method
    /// and path, and a status of 0.
    pub fn combined(&self, out: &mut Vec<u8>) {
        let TcpLine { client, connection, trace, ended, calendar } = self;
        out.extend_from_slice(client.peer_text.bytes());
        out.extend_from_slice(b" - - [");
        calendar.write_combined(*ended, out);
        out.extend_from_slice(b"] \"TCP ");
        escape_hex(out, client.rules().name.as_bytes());
        out.push(b' ');
        escape_hex(out, connection.name.as_deref().unwrap_or("-").as_bytes());
        put_number(out, b"\" ", 0);
        put_number(out, b" ", trace.sent_bytes);
        out.extend_from_slice(b" \"-\" \"-\"\n");
    }
}
