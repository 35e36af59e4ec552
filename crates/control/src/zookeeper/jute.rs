//! ZooKeeper's encoding (jute): big-endian numbers, counted texts, counted lists. What is read
//! comes from a server: nothing of it is believed beyond the bytes that are there.

/// What came is no answer of ZooKeeper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Writes one record after another.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn int(mut self, value: i32) -> Writer {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn long(mut self, value: i64) -> Writer {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn flag(mut self, value: bool) -> Writer {
        self.0.push(u8::from(value));
        self
    }

    /// Bytes behind their count. Callers bound them far below what a count holds.
    pub fn bytes(self, value: &[u8]) -> Writer {
        let count = i32::try_from(value.len()).unwrap_or(i32::MAX);
        let mut out = self.int(count);
        out.0.extend_from_slice(value);
        out
    }

    pub fn text(self, value: &str) -> Writer {
        self.bytes(value.as_bytes())
    }

    /// What another one has written.
    pub fn record(mut self, value: Writer) -> Writer {
        self.0.extend_from_slice(&value.0);
        self
    }
}

/// Reads what was received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn int(&mut self) -> Result<i32, Malformed> {
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(i32::from_be_bytes(bytes))
    }

    pub fn long(&mut self) -> Result<i64, Malformed> {
        let bytes = self.take(8)?.try_into().map_err(|_| Malformed)?;
        Ok(i64::from_be_bytes(bytes))
    }

    pub fn flag(&mut self) -> Result<bool, Malformed> {
        Ok(self.take(1)? != [0])
    }

    /// Counted bytes; a count of -1 is none.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        match self.int()? {
            -1 => Ok(&[]),
            count => self.take(usize::try_from(count).map_err(|_| Malformed)?),
        }
    }

    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub fn texts(&mut self) -> Result<Vec<String>, Malformed> {
        let count = match self.int()? {
            -1 => 0,
            count => usize::try_from(count).map_err(|_| Malformed)?,
        };
        // Each has a count of its own: room is made for no more than could be there.
        let mut texts = Vec::with_capacity(count.min(self.0.len() / 4));
        for _ in 0..count {
            texts.push(self.text()?.to_owned());
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let out = Writer::default().int(-5).long(1 << 40).flag(true).text("/a").bytes(b"");
        let mut reader = Reader(&out.0);
        assert_eq!((reader.int(), reader.long(), reader.flag()), (Ok(-5), Ok(1 << 40), Ok(true)));
        assert_eq!((reader.text(), reader.bytes(), reader.0.len()), (Ok("/a"), Ok(&b""[..]), 0));
    }

    #[test]
    fn counts_are_not_believed_beyond_what_is_there() {
        for bytes in [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xfe], &[0, 0, 0, 2, 1]] {
            assert_eq!(Reader(bytes).texts(), Err(Malformed));
            assert_eq!(Reader(bytes).bytes(), Err(Malformed));
        }
        assert_eq!(Reader(&[0xff; 4]).texts(), Ok(vec![]));
        assert_eq!(Reader(&[0, 0, 0, 1, 0xff]).text(), Err(Malformed));
    }
}
