//! Header fields: one buffer, a table of spans, and edits beside them.

use super::known::{Known, NO_TOKEN, UNDERSCORE, classes};

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
#[derive(Clone, Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    table: Vec<Field>,
    present: u64,
    underscores: bool,
    /// Where the lines stand, one run behind another, while none was taken out.
    runs: Vec<Span>,
    /// Whether one was: `runs` says nothing any more.
    torn: bool,
    derived: Vec<u8>,
}

impl Fields {
    /// Forgets everything and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.table.clear();
        self.present = 0;
        self.underscores = false;
        self.runs.clear();
        self.torn = false;
    }

    /// Becomes the same as another, in its own room.
    pub fn copy_from(&mut self, other: &Fields) {
        let Fields { bytes, table, present, underscores, runs, torn, derived: _ } = other;
        self.bytes.clone_from(bytes);
        self.table.clone_from(table);
        self.runs.clone_from(runs);
        (self.present, self.underscores, self.torn) = (*present, *underscores, *torn);
    }

    /// Takes `head` as the bytes that everything recorded since [`Fields::clear`] refers to: lines
    /// that follow one another.
    pub fn load(&mut self, head: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(head);
        if let (Some(first), Some(last)) = (self.table.first(), self.table.last()) {
            self.runs.push(Span { start: first.name.start, end: last.line_end });
        }
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

    /// Which field a received `name` is; `None` where it is no token. Remembers underscores.
    #[inline]
    pub fn know(&mut self, name: &[u8]) -> Option<Known> {
        let known = Known::of(name);
        // Every other name was compared with one word as a whole.
        if matches!(known, Known::Other | Known::XForwardedOther) {
            let classes = classes(name);
            self.underscores |= classes & UNDERSCORE != 0;
            if classes & NO_TOKEN != 0 || name.is_empty() {
                return None;
            }
        }
        Some(known)
    }

    /// Whether any received name has an underscore.
    pub fn has_underscores(&self) -> bool {
        self.underscores
    }

    /// Records a field line by where it stands in the buffer.
    #[inline]
    pub fn record(&mut self, known: Known, name: Span, value: Span, line_end: usize) {
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
        self.torn = true;
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
        self.torn = true;
        self.table
            .iter_mut()
            .filter(|field| field.name.of(bytes).eq_ignore_ascii_case(name))
            .for_each(|field| field.dropped = true);
    }

    /// Takes out every field that `wanted` picks by its table row and its name.
    pub fn remove_where(&mut self, mut wanted: impl FnMut(&Field, &[u8]) -> bool) {
        let mut present = 0;
        self.torn = true;
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
        self.append_received(Known::of(name), name, write);
    }

    /// The same, for a received field of which [`Fields::know`] has said what it is.
    pub fn append_received(&mut self, known: Known, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        self.end_line(known, Span::new(start, start + name.len()), write);
    }

    /// The same, for a field that the caller knows: `label` is its name, a colon and a space.
    #[inline]
    pub fn append_known(&mut self, known: Known, label: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(label.ends_with(b": "));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(label);
        self.end_line(known, Span::new(start, start + label.len() - 2), write);
    }

    /// Puts one field in place of all others of this kind: their values as one list, and behind
    /// them what `write` appends. `label` is its name, a colon and a space.
    #[inline]
    pub fn join(&mut self, known: Known, label: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        if !self.has(known) {
            return self.append_known(known, label, write);
        }
        debug_assert!(label.ends_with(b": "));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(label);
        self.torn = true;
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
        let name = Span::new(start, start + label.len() - 2);
        self.record(known, name, Span::new(value, end), end + 2);
    }

    /// Ends a line of which all but the value is written, and records it.
    #[inline]
    fn end_line(&mut self, known: Known, name: Span, write: impl FnOnce(&mut Vec<u8>)) {
        let value = self.note_with(write);
        self.bytes.extend_from_slice(b"\r\n");
        let end = self.bytes.len() as u32;
        match self.runs.last_mut() {
            Some(run) if run.end == name.start => run.end = end,
            _ => self.runs.push(Span { start: name.start, end }),
        }
        self.record(known, name, value, end as usize);
    }

    /// Puts one field in place of all others of that name.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove_named(name);
        self.append(name, value);
    }

    /// Appends the lines that are left, CRLF included, to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.torn {
            return self.left().for_each(|run| out.extend_from_slice(run));
        }
        debug_assert!(
            self.left().flatten().eq(self.runs.iter().flat_map(|run| run.of(&self.bytes)))
        );
        for run in &self.runs {
            out.extend_from_slice(run.of(&self.bytes));
        }
    }

    /// The lines that are left, as few slices as the edits allow.
    fn left(&self) -> impl Iterator<Item = &[u8]> {
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

    fn written(fields: &Fields) -> Vec<u8> {
        let mut out = Vec::new();
        fields.write(&mut out);
        out
    }

    fn sample() -> Fields {
        let text = b"Host: a\r\nX-One: 1\r\nCookie: c\r\n\r\n";
        let mut fields = Fields::default();
        fields.record(Known::Host, Span::new(0, 4), Span::new(6, 7), 9);
        fields.record(Known::Other, Span::new(9, 14), Span::new(16, 17), 19);
        fields.record(Known::Cookie, Span::new(19, 25), Span::new(27, 28), 30);
        fields.load(text);
        fields
    }

    #[test]
    fn untouched_fields_are_one_run() {
        let fields = sample();
        assert_eq!(fields.left().collect::<Vec<_>>(), [b"Host: a\r\nX-One: 1\r\nCookie: c\r\n"]);
    }

    #[test]
    fn what_is_added_follows_what_was_received() {
        let mut fields = sample();
        fields.append(b"A", b"1");
        fields.note(b"/a/path");
        fields.append_known(Known::Via, b"Via: ", |line| line.extend_from_slice(b"b"));
        fields.append(b"C", b"");
        let all = b"Host: a\r\nX-One: 1\r\nCookie: c\r\nA: 1\r\nVia: b\r\nC: \r\n";
        assert_eq!(written(&fields), all);
        assert_eq!(fields.left().count(), 3);
        fields.remove(Known::Via);
        let left = b"Host: a\r\nX-One: 1\r\nCookie: c\r\nA: 1\r\nC: \r\n";
        assert_eq!(written(&fields), left);
    }

    #[test]
    fn edits_are_recorded_beside_what_was_received() {
        let mut fields = sample();
        fields.remove_named(b"x-one");
        fields.set(b"host", b"b");
        fields.append(b"Via", b"1.1 gatehouse");
        assert_eq!(written(&fields), b"Cookie: c\r\nhost: b\r\nVia: 1.1 gatehouse\r\n");
        assert_eq!(fields.get(Known::Host), Some(&b"b"[..]));
        assert!(fields.has(Known::Via));
    }

    #[test]
    fn joined_fields_are_one_list() {
        let mut fields = Fields::default();
        fields.append(b"Via", b"1.0 a");
        fields.append(b"X", b"y");
        fields.append(b"via", b"1.1 b");
        fields.join(Known::Via, b"Via: ", |line| line.extend_from_slice(b"1.1 c"));
        assert_eq!(written(&fields), b"X: y\r\nVia: 1.0 a, 1.1 b, 1.1 c\r\n");
    }

    #[test]
    fn a_received_name_is_a_token_or_none() {
        let mut fields = Fields::default();
        for name in [&b""[..], b"a b", b"a\r", b"content\rlength", b"x-forwarded-\xff", b"a:"] {
            assert_eq!(fields.know(name), None, "{name:?}");
        }
        assert!(!fields.has_underscores());
        assert_eq!(fields.know(b"!#$%&'*+-.^`|~0aZ"), Some(Known::Other));
        assert_eq!(fields.know(b"x-forwarded-a_b"), Some(Known::XForwardedOther));
        assert!(fields.has_underscores());
    }
}
