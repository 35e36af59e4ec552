//! A chunked body as it passes (RFC 9112, section 7.1): its end is found, its bytes are not kept.

/// Chunk extensions of one chunk, or the whole trailer section, may be so long.
const FRAMING_BYTES_MAX: usize = 64 << 10;
/// A longer size would not fit.
const SIZE_DIGITS_MAX: u8 = 16;

/// The place inside a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the digits of a size.
    Size { size: u64, digits: u8 },
    /// Behind the digits, before the line's end.
    Extension { size: u64, bytes: usize },
    /// Before the LF of a size line.
    SizeBreak { size: u64 },
    /// In the data.
    Data { left: u64 },
    /// Before the CR behind the data.
    DataEnd,
    /// Before the LF behind the data.
    DataBreak,
    /// In the trailer section: bytes in all, and in this line.
    Trailer { bytes: usize, line: usize },
    /// Before the LF of a trailer line of that length.
    TrailerBreak { bytes: usize, line: usize },
}

/// What a piece of input meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// All of it belongs to the body, which goes on.
    More,
    /// The body ended after so many bytes of it.
    Over(usize),
    Malformed,
}

/// What one byte of framing led to.
enum Next {
    To(Chunks),
    Over,
    Malformed,
}

impl Chunks {
    pub fn start() -> Self {
        Self::Size { size: 0, digits: 0 }
    }

    /// Passes over `input`.
    pub fn pass(&mut self, input: &[u8]) -> Passed {
        let mut at = 0;
        while at < input.len() {
            if let Self::Data { left } = self {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len() - at);
                at += count;
                *left -= count as u64;
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                continue;
            }
            match self.step(input[at]) {
                Next::To(next) => *self = next,
                Next::Over => return Passed::Over(at + 1),
                Next::Malformed => return Passed::Malformed,
            }
            at += 1;
        }
        Passed::More
    }

    fn step(self, byte: u8) -> Next {
        let next = match (self, byte) {
            (Self::Size { size, digits: 1.. }, b'\r') => Self::SizeBreak { size },
            (Self::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => {
                Self::Extension { size, bytes: 0 }
            }
            (Self::Size { size, digits }, digit) => match char::from(digit).to_digit(16) {
                Some(value) if digits < SIZE_DIGITS_MAX => {
                    Self::Size { size: size << 4 | u64::from(value), digits: digits + 1 }
                }
                _ => return Next::Malformed,
            },
            (Self::Extension { size, .. }, b'\r') => Self::SizeBreak { size },
            (Self::Extension { size, bytes }, byte) if byte != b'\n' => {
                Self::Extension { size, bytes: bytes + 1 }
            }
            (Self::SizeBreak { size: 0 }, b'\n') => Self::Trailer { bytes: 0, line: 0 },
            (Self::SizeBreak { size }, b'\n') => Self::Data { left: size },
            (Self::DataEnd, b'\r') => Self::DataBreak,
            (Self::DataBreak, b'\n') => Self::start(),
            (Self::Trailer { bytes, line }, b'\r') => Self::TrailerBreak { bytes, line },
            (Self::Trailer { bytes, line }, byte) if byte != b'\n' => {
                Self::Trailer { bytes: bytes + 1, line: line + 1 }
            }
            (Self::TrailerBreak { line: 0, .. }, b'\n') => return Next::Over,
            (Self::TrailerBreak { bytes, .. }, b'\n') => Self::Trailer { bytes, line: 0 },
            _ => return Next::Malformed,
        };
        match next {
            Self::Extension { bytes, .. } | Self::Trailer { bytes, .. }
                if bytes > FRAMING_BYTES_MAX =>
            {
                Next::Malformed
            }
            next => Next::To(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of `input`, cut into pieces of `size`, is body.
    fn length(input: &[u8], size: usize) -> Option<usize> {
        let mut chunks = Chunks::start();
        let mut at = 0;
        for piece in input.chunks(size) {
            match chunks.pass(piece) {
                Passed::More => at += piece.len(),
                Passed::Over(count) => return Some(at + count),
                Passed::Malformed => return None,
            }
        }
        None
    }

    #[test]
    fn the_end_is_found_in_pieces_of_every_size() {
        let body = b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n00\r\nX-T: u\r\nX-V: w\r\n\r\n";
        let input = [&body[..], b"HTTP"].concat();
        for size in 1..=input.len() {
            assert_eq!(length(&input, size), Some(body.len()), "pieces of {size}");
        }
        assert_eq!(length(b"0\r\n\r\n", 5), Some(5));
    }

    #[test]
    fn what_is_no_chunk_is_malformed() {
        let long = [&b"1;"[..], &vec![b'x'; FRAMING_BYTES_MAX + 2]].concat();
        let broken: [&[u8]; 7] = [
            b"g\r\n",
            b"\r\n",
            b"1\nx",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n",
            b"11111111111111111\r\n",
            &long,
        ];
        for input in broken {
            let mut chunks = Chunks::start();
            assert_eq!(
                chunks.pass(input),
                Passed::Malformed,
                "{:?}",
                &input[..input.len().min(20)]
            );
        }
    }
}
