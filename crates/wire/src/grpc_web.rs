//! gRPC-Web (grpc.io, PROTOCOL-WEB): the bodies of gRPC for clients that cannot read trailers, in
//! binary or as base64 text. Trailers become a last frame of the body.

use gatehouse_core::message::Fields;

/// What marks a frame that holds trailers.
const TRAILERS: u8 = 0x80;

/// What is made of a body on its way.
#[derive(Debug)]
pub enum Web {
    /// An answer for a client that reads binary: the trailers are put behind it.
    Binary,
    /// An answer for a client that reads text: the same, as base64.
    ToText,
    /// A request of a client that writes text.
    FromText(Text),
}

impl Web {
    /// A request of a client that writes text.
    pub fn from_text() -> Web {
        Web::FromText(Text::default())
    }

    /// Appends to `out` what becomes of `data`.
    ///
    /// # Errors
    /// What is wrong with a request that is no base64.
    pub(crate) fn write(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Web::Binary => out.extend_from_slice(data),
            Web::ToText => encode(data, out),
            Web::FromText(text) => text.decode(data, out)?,
        }
        Ok(())
    }

    /// Appends to `out` what ends the body, whose trailers these are. False where they still have
    /// to be sent as trailers.
    ///
    /// # Errors
    /// What is wrong with a request that ends within a group of base64.
    pub(crate) fn end(
        &mut self,
        trailers: Option<&Fields>,
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        match self {
            Web::Binary => frame(trailers, out),
            Web::ToText => {
                let mut whole = Vec::new();
                frame(trailers, &mut whole);
                encode(&whole, out);
            }
            Web::FromText(text) => return text.end(),
        }
        Ok(())
    }
}

/// The status that a call has ended with, in the trailers or in a head with nothing behind it.
pub fn status(fields: &Fields) -> Option<u8> {
    let digits = fields.named_first(b"grpc-status")?;
    let add = |sum: u8, digit: &u8| {
        let digit = char::from(*digit).to_digit(10)? as u8;
        sum.checked_mul(10)?.checked_add(digit)
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

/// A frame of trailers, as lines of HTTP/1.1. An answer without any ends as it is.
fn frame(trailers: Option<&Fields>, out: &mut Vec<u8>) {
    let Some(trailers) = trailers else { return };
    let start = out.len();
    out.extend_from_slice(&[TRAILERS, 0, 0, 0, 0]);
    for (name, value) in trailers.iter() {
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    let length = u32::try_from(out.len() - start - 5).unwrap_or(u32::MAX);
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 (RFC 4648 section 4), padded: pieces of it may follow one another.
fn encode(data: &[u8], out: &mut Vec<u8>) {
    for three in data.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            out.push(if at <= three.len() { digit } else { b'=' });
        }
    }
}

/// Base64 on its way in, in any pieces; padding may stand at the end of any of those that its
/// writer has written.
#[derive(Debug, Default)]
pub struct Text {
    bits: u32,
    digits: u8,
    padding: u8,
}

impl Text {
    fn decode(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        const FAULT: &str = "the body is no base64";
        for byte in text {
            let six = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' if self.digits >= 2 => {
                    self.padding += 1;
                    0
                }
                _ => return Err(FAULT),
            };
            if self.padding > 0 && *byte != b'=' {
                return Err(FAULT);
            }
            self.bits = self.bits << 6 | u32::from(six);
            self.digits += 1;
            if self.digits == 4 {
                let bytes = self.bits.to_be_bytes();
                out.extend_from_slice(&bytes[1..4 - usize::from(self.padding)]);
                *self = Text::default();
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<(), &'static str> {
        if self.digits == 0 { Ok(()) } else { Err("the body ends within a group of base64") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_written_as_the_rfc_says() {
        for (data, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            encode(data.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["Zm9", "Z", "Zm=v", "====", "=", "Zm9*", "Zg==Z", "Z===", "Zm9v\n"] {
            let mut web = Web::from_text();
            let mut out = Vec::new();
            let read = web.write(text.as_bytes(), &mut out).and_then(|()| web.end(None, &mut out));
            assert!(read.is_err(), "{text}");
        }
    }

    #[test]
    fn trailers_become_the_last_frame() {
        let mut trailers = Fields::default();
        trailers.append(b"Grpc-Status", b"0");
        let mut out = Vec::new();
        Web::Binary.end(Some(&trailers), &mut out).unwrap();
        assert_eq!(out, b"\x80\0\0\0\x10grpc-status: 0\r\n");
        let mut text = Vec::new();
        Web::ToText.end(Some(&trailers), &mut text).unwrap();
        let mut back = Vec::new();
        Web::from_text().write(&text, &mut back).unwrap();
        assert_eq!(back, out);
    }

    proptest! {
        #[test]
        fn any_pieces_of_text_are_read_as_they_were_written(
            pieces in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..40), 0..6),
            step in 1_usize..20,
        ) {
            let mut text = Vec::new();
            pieces.iter().for_each(|piece| encode(piece, &mut text));
            let mut web = Web::from_text();
            let mut back = Vec::new();
            for part in text.chunks(step) {
                web.write(part, &mut back).unwrap();
            }
            web.end(None, &mut back).unwrap();
            prop_assert_eq!(back, pieces.concat());
        }
    }
}
