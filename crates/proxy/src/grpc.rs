//! gRPC (grpc.io, PROTOCOL-HTTP2 and PROTOCOL-WEB): what a call says of itself, and what it is
//! told of a failure.

use gatehouse_core::failure::{Failure, Kind, Step};
use gatehouse_core::message::{BodyLength, Fields, Known, RequestHead, ResponseHead};
use gatehouse_core::moment::Moment;
use gatehouse_wire::grpc_web::{self, Web};
use std::io::Write;
use std::time::Duration;

/// The status of an endpoint that may be there later, or elsewhere.
const UNAVAILABLE: u8 = 14;

/// A call, as far as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Until when whoever made it waits.
    pub until: Option<Moment>,
    /// How it is written, where its client cannot speak gRPC itself.
    pub web: Option<Form>,
}

/// A form of gRPC-Web.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Trailers are a last frame of the body.
    Binary,
    /// The same as base64.
    Text,
}

impl Form {
    /// What becomes of a request's body; `None` where nothing has to.
    pub fn of_request(self) -> Option<Web> {
        match self {
            Form::Binary => None,
            Form::Text => Some(Web::from_text()),
        }
    }

    /// What becomes of an answer's body.
    pub fn of_answer(self) -> Web {
        match self {
            Form::Binary => Web::Binary,
            Form::Text => Web::ToText,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Form::Binary => "application/grpc-web",
            Form::Text => "application/grpc-web-text",
        }
    }
}

impl Call {
    /// The call that a request is, if it is one.
    pub fn of(head: &RequestHead, now: Moment) -> Result<Option<Call>, Failure> {
        let content_type = head.fields.get(Known::ContentType).unwrap_or(b"");
        let web = match kind(content_type) {
            None => return Ok(None),
            Some((name, _)) if name == GRPC => None,
            Some((name, _)) if name == Form::Text.name() => Some(Form::Text),
            Some(_) => Some(Form::Binary),
        };
        let until = match head.fields.named_first(b"grpc-timeout") {
            None => None,
            Some(value) => {
                let detail = "grpc-timeout is no number of at most eight digits and a unit";
                let malformed = Failure::because(Step::Read, Kind::RequestMalformed, detail);
                Some(now.after(timeout(value).ok_or(malformed)?))
            }
        };
        Ok(Some(Call { until, web }))
    }

    /// What its client is told that an answer is.
    pub fn content_type(self) -> &'static str {
        self.web.map_or(GRPC, Form::name)
    }

    /// Whether the status of the call is still to come: in the trailers, behind all messages.
    /// Nobody looks for it in the body of one that is gRPC-Web on both sides.
    pub fn tells_in_the_end(self, answer: &ResponseHead, translates: bool) -> bool {
        let is_seen = self.web.is_none() || translates;
        answer.status == 200 && !answer.body.is_none() && is_seen
    }

    /// Makes the head of a gRPC-Web request one of gRPC.
    pub fn translate_request(self, fields: &mut Fields) {
        let Some(form) = self.web else { return };
        rename(fields, GRPC);
        if form == Form::Text {
            fields.remove(Known::ContentLength);
        }
    }

    /// Makes the head of a gRPC answer one of gRPC-Web. One that is nothing but its head stays so:
    /// its status stands there.
    pub fn translate_answer(self, answer: &mut ResponseHead) {
        let Some(form) = self.web else { return };
        rename(&mut answer.fields, form.name());
        if !answer.body.is_none() {
            // As long as its trailers make it.
            answer.body = BodyLength::Chunked;
            answer.fields.remove(Known::ContentLength);
        }
    }
}

/// Tells an endpoint how much of a call's time is left: of what its caller has given, or of the
/// route's, whichever is less.
pub(crate) fn write_timeout(left: Duration, fields: &mut Fields) {
    fields.remove_named(b"grpc-timeout");
    // Eight digits of microseconds are 100 s, of milliseconds a day; more is as good as that.
    fields.append_with(b"grpc-timeout", |line| {
        // Writing to a Vec cannot fail.
        drop(match (left.as_micros(), left.as_millis()) {
            (micros, _) if micros <= DIGITS_MAX => write!(line, "{micros}u"),
            (_, millis) => write!(line, "{}m", millis.min(DIGITS_MAX)),
        });
    });
}

/// The largest number of eight digits.
const DIGITS_MAX: u128 = 99_999_999;

const GRPC: &str = "application/grpc";

/// Which of gRPC's names a content type begins with, and what follows it: how messages are
/// encoded.
fn kind(content_type: &[u8]) -> Option<(&'static str, &[u8])> {
    let names = [GRPC, Form::Binary.name(), Form::Text.name()];
    names.into_iter().find_map(|name| {
        let (own, rest) = content_type.split_at_checked(name.len())?;
        let whole = matches!(rest.first(), None | Some(b'+' | b';' | b' '));
        (whole && own.eq_ignore_ascii_case(name.as_bytes())).then_some((name, rest))
    })
}

/// Puts `name` in place of the name of gRPC's that the content type has.
fn rename(fields: &mut Fields, name: &str) {
    let content_type = fields.get(Known::ContentType).unwrap_or(b"");
    let Some((_, rest)) = kind(content_type) else { return };
    let renamed = [name.as_bytes(), rest].concat();
    fields.set(b"content-type", &renamed);
}

/// A `grpc-timeout`: at most eight digits and a unit.
fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |sum, digit| match digit {
        b'0'..=b'9' => Some(sum * 10 + u64::from(digit - b'0')),
        _ => None,
    })?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Whether an answer says with its head that the endpoint is not there, and nothing more follows.
pub(crate) fn is_unavailable(answer: &ResponseHead) -> bool {
    answer.body.is_none() && grpc_web::status(&answer.fields) == Some(UNAVAILABLE)
}

/// The status by which the endpoint of a call is judged, where its head is all there is.
pub(crate) fn judged_status(answer: &ResponseHead) -> u16 {
    let told = grpc_web::status(&answer.fields).filter(|_| answer.body.is_none());
    told.map_or(answer.status, |told| as_http(told).unwrap_or(answer.status))
}

/// The status of HTTP that says the same of an endpoint as this one of a call; `None` where it says
/// nothing of it. So does DEADLINE_EXCEEDED: it was the caller who gave so much time.
pub(crate) fn as_http(status: u8) -> Option<u16> {
    match status {
        // RESOURCE_EXHAUSTED.
        8 => Some(429),
        // UNKNOWN, INTERNAL, DATA_LOSS.
        2 | 13 | 15 => Some(500),
        UNAVAILABLE => Some(503),
        _ => None,
    }
}

/// Writes what a call is told of a failure: into an answer that is nothing but its head, or into
/// the trailers of one that has begun.
pub(crate) fn write_status(failure: Failure, exchange: u64, fields: &mut Fields) {
    let status = failure.kind.facts().grpc;
    // Writing to a Vec cannot fail. The texts are the gateway's own, and printable but for `%`,
    // which none has.
    fields.append_with(b"grpc-status", |line| drop(write!(line, "{status}")));
    fields.append_with(b"grpc-message", |line| {
        drop(write!(line, "{failure} (exchange {exchange:016x})"));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_content_type() {
        for (value, expected) in [
            (&b"application/grpc"[..], Some((GRPC, &b""[..]))),
            (b"application/grpc+proto", Some((GRPC, b"+proto"))),
            (b"Application/GRPC;v=1", Some((GRPC, b";v=1"))),
            (b"application/grpc-web", Some(("application/grpc-web", b""))),
            (b"application/grpc-web-text+proto", Some(("application/grpc-web-text", b"+proto"))),
            (b"application/grpc-webs", None),
            (b"application/json", None),
            (b"", None),
        ] {
            assert_eq!(kind(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn a_content_type_keeps_what_says_how_messages_are_encoded() {
        let mut fields = Fields::default();
        fields.append(b"Content-Type", b"application/grpc-web-text+proto");
        let call = Call { until: None, web: Some(Form::Text) };
        call.translate_request(&mut fields);
        assert_eq!(fields.get(Known::ContentType), Some(&b"application/grpc+proto"[..]));
        for body in [BodyLength::None, BodyLength::Chunked] {
            let mut answer = ResponseHead { body, ..ResponseHead::default() };
            answer.fields.append(b"Content-Type", b"application/grpc+proto");
            call.translate_answer(&mut answer);
            let content_type = answer.fields.get(Known::ContentType);
            assert_eq!(content_type, Some(&b"application/grpc-web-text+proto"[..]));
            assert_eq!(answer.body, body);
        }
    }

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        for (value, expected) in [
            (&b"1H"[..], Some(Duration::from_secs(3600))),
            (b"2M", Some(Duration::from_secs(120))),
            (b"3S", Some(Duration::from_secs(3))),
            (b"4m", Some(Duration::from_millis(4))),
            (b"5u", Some(Duration::from_micros(5))),
            (b"99999999n", Some(Duration::from_nanos(99_999_999))),
            (b"0S", Some(Duration::ZERO)),
            (b"", None),
            (b"S", None),
            (b"1", None),
            (b"1s", None),
            (b"-1S", None),
            (b"1 S", None),
            (b"123456789S", None),
        ] {
            assert_eq!(timeout(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn what_is_left_of_a_timeout_is_passed_on() {
        for (left, expected) in [
            (Duration::from_micros(1500), "1500u"),
            (Duration::from_secs(90), "90000000u"),
            (Duration::from_secs(200), "200000m"),
            (Duration::from_secs(400_000), "99999999m"),
            (Duration::ZERO, "0u"),
        ] {
            let mut fields = Fields::default();
            fields.append(b"Grpc-Timeout", b"9S");
            write_timeout(left, &mut fields);
            let values: Vec<_> = fields.named(b"grpc-timeout").collect();
            assert_eq!(values, [expected.as_bytes()]);
        }
    }

    #[test]
    fn a_failures_text_needs_no_escaping() {
        let mut fields = Fields::default();
        write_status(Failure::new(Step::Pick, Kind::NoEndpoint), 1, &mut fields);
        assert_eq!(fields.named_first(b"grpc-status"), Some(&b"14"[..]));
        let text = fields.named_first(b"grpc-message").unwrap();
        assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'%'));
    }
}
