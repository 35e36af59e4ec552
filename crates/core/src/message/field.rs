//! Header fields: one buffer, a table of spans, and edits beside them.

/// A range of bytes in a head's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span `start..end`. Heads are far below 4 GiB: every listener's limit is a `u32`.
    pub const fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    /// Bytes it covers.
    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it covers nothing.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The bytes it covers in `bytes`.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

/// A field name the gateway acts on; everything else is [`Known::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is the field of that name")]
pub enum Known {
    Other,
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Expect,
    Upgrade,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    Via,
    Forwarded,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    /// Any other `X-Forwarded-*`, and `X-Real-IP`: believed only behind a trusted proxy.
    XForwardedOther,
    Authorization,
    ProxyAuthorization,
    Cookie,
    SetCookie,
    Date,
    Server,
    Accept,
    UserAgent,
    Referer,
    ContentType,
    ProxyStatus,
    SecWebSocketKey,
}

impl Known {
    /// Which field `name` is, whatever its case.
    pub fn of(name: &[u8]) -> Known {
        let is = |word: &[u8]| same_token(name, word);
        let Some(first) = name.first() else { return Known::Other };
        match (name.len(), first | 0x20) {
            (2, b't') if is(b"te") => Known::Te,
            (3, b'v') if is(b"via") => Known::Via,
            (4, b'h') if is(b"host") => Known::Host,
            (4, b'd') if is(b"date") => Known::Date,
            (6, b'a') if is(b"accept") => Known::Accept,
            (6, b'e') if is(b"expect") => Known::Expect,
            (6, b'c') if is(b"cookie") => Known::Cookie,
            (6, b's') if is(b"server") => Known::Server,
            (7, b'u') if is(b"upgrade") => Known::Upgrade,
            (7, b't') if is(b"trailer") => Known::Trailer,
            (7, b'r') if is(b"referer") => Known::Referer,
            (9, b'f') if is(b"forwarded") => Known::Forwarded,
            (10, b'c') if is(b"connection") => Known::Connection,
            (10, b'k') if is(b"keep-alive") => Known::KeepAlive,
            (10, b's') if is(b"set-cookie") => Known::SetCookie,
            (10, b'u') if is(b"user-agent") => Known::UserAgent,
            (12, b'c') if is(b"content-type") => Known::ContentType,
            (12, b'p') if is(b"proxy-status") => Known::ProxyStatus,
            (13, b'a') if is(b"authorization") => Known::Authorization,
            (14, b'c') if is(b"content-length") => Known::ContentLength,
            (16, b'p') if is(b"proxy-connection") => Known::ProxyConnection,
            (17, b't') if is(b"transfer-encoding") => Known::TransferEncoding,
            (17, b's') if is(b"sec-websocket-key") => Known::SecWebSocketKey,
            (19, b'p') if is(b"proxy-authorization") => Known::ProxyAuthorization,
            (_, b'x') => Known::of_x(name),
            _ => Known::Other,
        }
    }

    fn of_x(name: &[u8]) -> Known {
        const PREFIX: &[u8] = b"x-forwarded-";
        if same_token(name, b"x-real-ip") {
            return Known::XForwardedOther;
        }
        match name.split_at_checked(PREFIX.len()) {
            Some((start, rest)) if same_token(start, PREFIX) => match rest {
                rest if same_token(rest, b"for") => Known::XForwardedFor,
                rest if same_token(rest, b"proto") => Known::XForwardedProto,
                rest if same_token(rest, b"host") => Known::XForwardedHost,
                _ => Known::XForwardedOther,
            },
            _ => Known::Other,
        }
    }

    const fn bit(self) -> u64 {
        1 << (self as u8)
    }
}

/// Whether a token is `word`, any case; `word` is lower-case letters, digits and dashes. Compares
/// eight bytes at a time: a name is looked at for every field of every message. Setting bit 5
/// turns upper case into lower, leaves digits and dashes, and makes no other token byte into one
/// of these.
#[inline]
fn same_token(token: &[u8], word: &[u8]) -> bool {
    const CASE: u64 = 0x2020_2020_2020_2020;
    if token.len() != word.len() {
        return false;
    }
    let (eights, rest) = token.as_chunks::<8>();
    let (word_eights, word_rest) = word.as_chunks::<8>();
    let same = |(one, other): (&[u8; 8], &[u8; 8])| {
        u64::from_ne_bytes(*one) | CASE == u64::from_ne_bytes(*other)
    };
    eights.iter().zip(word_eights).all(same)
        && rest.iter().zip(word_rest).all(|(one, other)| one | 0x20 == *other)
}

/// One field line.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Where its name stands.
    pub name: Span,
    /// Where its value stands, without the white space around it.
    pub value: Span,
    /// One past the line's CRLF.
    pub line_end: u32,
    /// Which field it is.
    pub known: Known,
    /// Whether an edit has taken it out.
    pub dropped: bool,
}

/// A field that may stand once stands several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

/// A field section: the bytes as received, the table over them, and edits beside them.
///
/// Clearing keeps the capacity, so a section that is used again allocates nothing once it has
/// seen its largest head.
#[derive(Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    table: Vec<Field>,
    present: u64,
    derived: Vec<u8>,
}

impl Fields {
    /// Forgets everything and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.table.clear();
        self.present = 0;
    }

    /// Starts over with `head` as the bytes that spans refer to.
    pub fn load(&mut self, head: &[u8]) {
        self.clear();
        self.bytes.extend_from_slice(head);
    }

    /// The buffer that every span of this head refers to.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes bytes behind the head and returns where they stand: a rewritten path, a host in
    /// lower case.
    pub fn note(&mut self, text: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        Span::new(start, self.bytes.len())
    }

    /// The same, written by `write`, which must only append.
    pub fn note_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.bytes.len();
        write(&mut self.bytes);
        Span::new(start, self.bytes.len())
    }

    /// Writes what `derive` makes of the bytes of `of` behind the head.
    ///
    /// # Errors
    /// What `derive` says; nothing is written then.
    pub fn note_derived<E>(
        &mut self,
        of: Span,
        derive: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Span, E> {
        let start = self.bytes.len();
        let mut out = std::mem::take(&mut self.derived);
        out.clear();
        let result = derive(of.of(&self.bytes), &mut out);
        if result.is_ok() {
            self.bytes.extend_from_slice(&out);
        }
        self.derived = out;
        result.map(|()| Span::new(start, self.bytes.len()))
    }

    /// Records a field line that stands in the buffer already.
    pub fn record(&mut self, name: Span, value: Span, line_end: usize) -> Known {
        let known = Known::of(name.of(&self.bytes));
        self.record_known(known, name, value, line_end);
        known
    }

    fn record_known(&mut self, known: Known, name: Span, value: Span, line_end: usize) {
        self.present |= known.bit();
        self.table.push(Field { name, value, line_end: line_end as u32, known, dropped: false });
    }

    /// Field lines, dropped ones not counted.
    pub fn len(&self) -> usize {
        self.table.iter().filter(|field| !field.dropped).count()
    }

    /// Whether there is no field line left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a field of this kind is there. One bit test; `Other` says nothing.
    pub fn has(&self, known: Known) -> bool {
        self.present & known.bit() != 0
    }

    /// The value of the first field of this kind.
    pub fn get(&self, known: Known) -> Option<&[u8]> {
        if !self.has(known) {
            return None;
        }
        self.all(known).next()
    }

    /// Where the value of the only field of this kind stands.
    ///
    /// # Errors
    /// [`Repeated`] where there are several.
    pub fn only(&self, known: Known) -> Result<Option<Span>, Repeated> {
        let mut rows = self.table.iter().filter(|field| field.known == known && !field.dropped);
        let first = rows.next().map(|field| field.value);
        if rows.next().is_some() { Err(Repeated) } else { Ok(first) }
    }

    /// The values of all fields of this kind, in order.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.table
            .iter()
            .filter(move |field| field.known == known && !field.dropped)
            .map(|field| field.value.of(&self.bytes))
    }

    /// The values of all fields called `name` (any case), in order.
    pub fn named<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first field called `name` (any case).
    pub fn named_first(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All fields, name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.table
            .iter()
            .filter(|field| !field.dropped)
            .map(|field| (field.name.of(&self.bytes), field.value.of(&self.bytes)))
    }

    /// The table itself, dropped rows included.
    pub fn table(&self) -> &[Field] {
        &self.table
    }

    /// Takes out all fields of this kind. `Other` is no kind: use [`Fields::remove_named`].
    pub fn remove(&mut self, known: Known) {
        if known == Known::Other || !self.has(known) {
            return;
        }
        self.present &= !known.bit();
        for field in self.table.iter_mut().filter(|field| field.known == known) {
            field.dropped = true;
        }
    }

    /// Takes out all fields called `name` (any case).
    pub fn remove_named(&mut self, name: &[u8]) {
        let known = Known::of(name);
        if known != Known::Other && known != Known::XForwardedOther {
            return self.remove(known);
        }
        let bytes = &self.bytes;
        self.table
            .iter_mut()
            .filter(|field| field.name.of(bytes).eq_ignore_ascii_case(name))
            .for_each(|field| field.dropped = true);
    }

    /// Takes out every field that `wanted` picks by its table row and its name.
    pub fn remove_where(&mut self, mut wanted: impl FnMut(&Field, &[u8]) -> bool) {
        let mut present = 0;
        for field in self.table.iter_mut().filter(|field| !field.dropped) {
            if wanted(field, field.name.of(&self.bytes)) {
                field.dropped = true;
            } else {
                present |= field.known.bit();
            }
        }
        self.present = present;
    }

    /// Adds a field after all others. The caller hands in text that is a field by construction:
    /// no CR, LF or NUL.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        self.append_with(name, |line| line.extend_from_slice(value));
    }

    /// The same, with the value written in place by `write`, which must only append.
    pub fn append_with(&mut self, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.append_known(Known::of(name), name, write);
    }

    /// The same, for a name whose kind the caller knows.
    #[inline]
    pub fn append_known(&mut self, known: Known, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.reserve(name.len() + 64);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        let value = self.note_with(write);
        self.bytes.extend_from_slice(b"\r\n");
        let end = self.bytes.len();
        self.record_known(known, Span::new(start, start + name.len()), value, end);
    }

    /// Puts one field in place of all others of this kind: their values as one list, and behind
    /// them what `write` appends.
    #[inline]
    pub fn join(&mut self, known: Known, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        if !self.has(known) {
            return self.append_known(known, name, write);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        let value = self.bytes.len();
        for field in self.table.iter_mut().filter(|field| field.known == known && !field.dropped) {
            field.dropped = true;
            if !field.value.is_empty() {
                let (from, to) = (field.value.start as usize, field.value.end as usize);
                self.bytes.extend_from_within(from..to);
                self.bytes.extend_from_slice(b", ");
            }
        }
        write(&mut self.bytes);
        let end = self.bytes.len();
        self.bytes.extend_from_slice(b"\r\n");
        let name = Span::new(start, start + name.len());
        self.record_known(known, name, Span::new(value, end), end + 2);
    }

    /// Puts one field in place of all others of that name.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove_named(name);
        self.append(name, value);
    }

    /// The lines that are left, CRLF included, as few slices as the edits allow: what the encoder
    /// copies.
    pub fn runs(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.table.as_slice();
        std::iter::from_fn(move || {
            while rest.first().is_some_and(|field| field.dropped) {
                rest = &rest[1..];
            }
            let first = rest.first()?;
            let mut end = first.line_end;
            rest = &rest[1..];
            while let Some(next) = rest.first() {
                if next.dropped || next.name.start != end {
                    break;
                }
                end = next.line_end;
                rest = &rest[1..];
            }
            Some(&self.bytes[first.name.start as usize..end as usize])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Fields {
        let text = b"Host: a\r\nX-One: 1\r\nCookie: c\r\n";
        let mut fields = Fields::default();
        fields.load(text);
        fields.record(Span::new(0, 4), Span::new(6, 7), 9);
        fields.record(Span::new(9, 14), Span::new(16, 17), 19);
        fields.record(Span::new(19, 25), Span::new(27, 28), 30);
        fields
    }

    #[test]
    fn untouched_fields_are_one_run() {
        let fields = sample();
        assert_eq!(fields.runs().collect::<Vec<_>>(), [b"Host: a\r\nX-One: 1\r\nCookie: c\r\n"]);
    }

    #[test]
    fn edits_are_recorded_beside_what_was_received() {
        let mut fields = sample();
        fields.remove_named(b"x-one");
        fields.set(b"host", b"b");
        fields.append(b"Via", b"1.1 gatehouse");
        assert_eq!(
            fields.runs().collect::<Vec<_>>().concat(),
            b"Cookie: c\r\nhost: b\r\nVia: 1.1 gatehouse\r\n"
        );
        assert_eq!(fields.get(Known::Host), Some(&b"b"[..]));
        assert!(fields.has(Known::Via));
    }

    #[test]
    fn joined_fields_are_one_list() {
        let mut fields = Fields::default();
        fields.append(b"Via", b"1.0 a");
        fields.append(b"X", b"y");
        fields.append(b"via", b"1.1 b");
        fields.join(Known::Via, b"Via", |line| line.extend_from_slice(b"1.1 c"));
        let lines = fields.runs().collect::<Vec<_>>().concat();
        assert_eq!(lines, b"X: y\r\nVia: 1.0 a, 1.1 b, 1.1 c\r\n");
    }

    #[test]
    fn names_are_known_in_any_case_and_only_whole() {
        for (name, known) in [
            (&b"HOST"[..], Known::Host),
            (b"Content-Length", Known::ContentLength),
            (b"content_length", Known::Other),
            (b"transfer-ENCODING", Known::TransferEncoding),
            (b"transfer-encodinh", Known::Other),
            (b"Hos", Known::Other),
            (b"Hostx", Known::Other),
            (b"te", Known::Te),
            (b"X-REAL-ip", Known::XForwardedOther),
            (b"proxy-authorization", Known::ProxyAuthorization),
        ] {
            assert_eq!(Known::of(name), known);
        }
    }

    #[test]
    fn forwarding_fields_are_known_by_their_prefix() {
        assert_eq!(Known::of(b"X-FORWARDED-for"), Known::XForwardedFor);
        assert_eq!(Known::of(b"x-forwarded-port"), Known::XForwardedOther);
        assert_eq!(Known::of(b"x-real-ip"), Known::XForwardedOther);
        assert_eq!(Known::of(b"x-forward"), Known::Other);
    }
}
