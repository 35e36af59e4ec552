//! Header blocks: written without compression, read with all of it.

use std::collections::VecDeque;

/// A header block of these fields: literals without indexing, so that any bytes can be sent.
#[must_use]
pub fn pack(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        text(name.as_bytes(), &mut block);
        text(value.as_bytes(), &mut block);
    }
    block
}

/// A field that is put into the table, and then named by one byte as often as asked: how a small
/// block becomes a large head.
#[must_use]
pub fn pack_crumb(name: &str, value: &str, times: usize) -> Vec<u8> {
    let mut block = vec![0x40];
    text(name.as_bytes(), &mut block);
    text(value.as_bytes(), &mut block);
    // 62 is the first entry behind the static table.
    block.extend(std::iter::repeat_n(0x80 | 62, times));
    block
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    number(bytes.len(), 7, 0, out);
    out.extend_from_slice(bytes);
}

/// RFC 7541 section 5.1.
fn number(value: usize, bits: u8, first: u8, out: &mut Vec<u8>) {
    let most = (1_usize << bits) - 1;
    if value < most {
        return out.push(first | value as u8);
    }
    out.push(first | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
}

type Field = (String, String);

/// Reads the header blocks of one direction of one connection.
#[derive(Debug, Default)]
pub struct Unpacker {
    table: VecDeque<Field>,
}

impl Unpacker {
    /// The fields of a block.
    ///
    /// # Panics
    /// Where the block is none.
    pub fn unpack(&mut self, mut block: &[u8]) -> Vec<Field> {
        let mut fields = Vec::new();
        while let Some(first) = block.first().copied() {
            let field = match first {
                0x80.. => {
                    let at = read_number(&mut block, 7);
                    self.entry(at)
                }
                0x40.. => {
                    let field = self.literal(&mut block, 6);
                    self.table.push_front(field.clone());
                    field
                }
                0x20.. => {
                    if read_number(&mut block, 5) == 0 {
                        self.table.clear();
                    }
                    continue;
                }
                _ => self.literal(&mut block, 4),
            };
            fields.push(field);
        }
        fields
    }

    fn entry(&self, at: usize) -> Field {
        let (name, value) = match STATIC.get(at - 1) {
            Some(entry) => *entry,
            None => {
                let (name, value) = &self.table[at - 1 - STATIC.len()];
                return (name.clone(), value.clone());
            }
        };
        (name.to_owned(), value.to_owned())
    }

    fn literal(&self, block: &mut &[u8], bits: u8) -> Field {
        let name = match read_number(block, bits) {
            0 => read_text(block),
            at => self.entry(at).0,
        };
        (name, read_text(block))
    }
}

fn read_number(block: &mut &[u8], bits: u8) -> usize {
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(block[0]) & most;
    *block = &block[1..];
    let mut shift = 0;
    let mut more = value == most;
    while more {
        let byte = block[0];
        *block = &block[1..];
        value += (usize::from(byte) & 127) << shift;
        shift += 7;
        more = byte & 128 != 0;
    }
    value
}

fn read_text(block: &mut &[u8]) -> String {
    let packed = block[0] & 0x80 != 0;
    let length = read_number(block, 7);
    let (bytes, rest) = block.split_at(length);
    *block = rest;
    if packed { unsqueeze(bytes) } else { String::from_utf8_lossy(bytes).into_owned() }
}

/// RFC 7541 appendix B: which bytes have a code of this many bits, in the order of their codes.
/// Those of more bits are no text, and not read here.
const CODES: [(u8, &[u8]); 10] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];

/// The byte of a code of this many bits, which has the value `code`.
fn decoded(bits: u8, code: u32) -> Option<u8> {
    let (mut first, mut before) = (0, 5);
    for (length, bytes) in CODES {
        first <<= length - before;
        before = length;
        let at = code.wrapping_sub(first) as usize;
        if length == bits && at < bytes.len() {
            return Some(bytes[at]);
        }
        first += bytes.len() as u32;
    }
    None
}

fn unsqueeze(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    let (mut code, mut bits) = (0, 0);
    for byte in bytes {
        for at in (0..8).rev() {
            code = code << 1 | u32::from(byte >> at & 1);
            bits += 1;
            if let Some(byte) = decoded(bits, code) {
                out.push(byte);
                (code, bits) = (0, 0);
            }
        }
    }
    assert!(bits < 8, "a code of more bits than text has");
    String::from_utf8_lossy(&out).into_owned()
}

/// RFC 7541 appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let long = "x".repeat(1000);
        let fields = [(":status", "200"), ("x-long", long.as_str()), ("x-empty", "")];
        let block = pack(&fields);
        let back = Unpacker::default().unpack(&block);
        let back: Vec<_> = back.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(back, fields);
    }

    /// RFC 7541 appendix C.6.1.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let block = [
            0x48, 0x82, 0x64, 0x02, 0x58, 0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b, 0x61, 0x96, 0xd0,
            0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81,
            0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff, 0x6e, 0x91, 0x9d, 0x29, 0xad, 0x17, 0x18,
            0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8, 0xe9, 0xae, 0x82, 0xae, 0x43, 0xd3,
        ];
        let mut unpacker = Unpacker::default();
        let fields = unpacker.unpack(&block);
        let expected = [
            (":status", "302"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ];
        let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(fields, expected);
        // The entries are in the table now, the last of them first.
        let block = [0xc0, 0xbf, 0xbe];
        let again: Vec<_> = unpacker.unpack(&block).into_iter().map(|(name, _)| name).collect();
        assert_eq!(again, ["cache-control", "date", "location"]);
    }
}
