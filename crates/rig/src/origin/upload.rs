//! A request body as it passes: counted, never kept.

/// A longer chunk-size or trailer line is refused.
const LINE_BYTES_MAX: usize = 4096;

/// What is left of a request body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Upload {
    None,
    Length(u64),
    Chunked(Chunk),
}

/// The place inside a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In the line with the size.
    Size(Vec<u8>),
    Data(u64),
    /// Bytes of the line break after the data that are still to come.
    Break(u8),
    /// In the trailer section.
    Trailer(Vec<u8>),
}

/// What a piece of input meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<'a> {
    /// These are bytes of the body; that many bytes of the input are used up.
    Data(&'a [u8]),
    /// So many bytes are framing.
    Framing(usize),
    Malformed,
}

impl Upload {
    pub fn of_length(length: u64) -> Self {
        if length == 0 { Self::None } else { Self::Length(length) }
    }

    pub fn chunked() -> Self {
        Self::Chunked(Chunk::Size(Vec::new()))
    }

    pub fn is_over(&self) -> bool {
        *self == Self::None
    }

    /// Takes what it can from the start of `input`, which is not empty.
    pub fn take<'a>(&mut self, input: &'a [u8]) -> Taken<'a> {
        match self {
            Self::None => Taken::Framing(0),
            Self::Length(left) => {
                let data = first(input, *left);
                *self = Self::of_length(*left - data.len() as u64);
                Taken::Data(data)
            }
            Self::Chunked(chunk) => {
                let (taken, next) = chunk.take(input);
                match next {
                    Next::Same => {}
                    Next::Chunk(next) => *chunk = next,
                    Next::Over => *self = Self::None,
                }
                taken
            }
        }
    }
}

/// Where a chunked body goes from here.
enum Next {
    Same,
    Chunk(Chunk),
    Over,
}

impl Chunk {
    fn take<'a>(&mut self, input: &'a [u8]) -> (Taken<'a>, Next) {
        match self {
            Self::Size(line) => match take_line(line, input) {
                Line::Partial(count) => (Taken::Framing(count), Next::Same),
                Line::TooLong => (Taken::Malformed, Next::Same),
                Line::Whole(count) => match chunk_size(line) {
                    Some(0) => (Taken::Framing(count), Next::Chunk(Self::Trailer(Vec::new()))),
                    Some(size) => (Taken::Framing(count), Next::Chunk(Self::Data(size))),
                    None => (Taken::Malformed, Next::Same),
                },
            },
            Self::Data(left) => {
                let data = first(input, *left);
                *left -= data.len() as u64;
                let next = if *left == 0 { Next::Chunk(Self::Break(2)) } else { Next::Same };
                (Taken::Data(data), next)
            }
            Self::Break(left) => {
                let expected = if *left == 2 { b'\r' } else { b'\n' };
                *left -= 1;
                let next = match *left {
                    0 => Next::Chunk(Self::Size(Vec::new())),
                    _ => Next::Same,
                };
                let right = input[0] == expected;
                (if right { Taken::Framing(1) } else { Taken::Malformed }, next)
            }
            Self::Trailer(line) => match take_line(line, input) {
                Line::Partial(count) => (Taken::Framing(count), Next::Same),
                Line::TooLong => (Taken::Malformed, Next::Same),
                Line::Whole(count) if line.is_empty() => (Taken::Framing(count), Next::Over),
                Line::Whole(count) => {
                    (Taken::Framing(count), Next::Chunk(Self::Trailer(Vec::new())))
                }
            },
        }
    }
}

enum Line {
    Partial(usize),
    Whole(usize),
    TooLong,
}

/// Adds to `line` up to its line break, which is taken off.
fn take_line(line: &mut Vec<u8>, input: &[u8]) -> Line {
    let end = input.iter().position(|byte| *byte == b'\n');
    let count = end.map_or(input.len(), |at| at + 1);
    if line.len() + count > LINE_BYTES_MAX {
        return Line::TooLong;
    }
    line.extend_from_slice(&input[..count]);
    if end.is_none() {
        return Line::Partial(count);
    }
    line.pop();
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Line::Whole(count)
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|byte| *byte == b';').next()?;
    u64::from_str_radix(std::str::from_utf8(size).ok()?.trim_end(), 16).ok()
}

fn first(input: &[u8], limit: u64) -> &[u8] {
    let count = usize::try_from(limit).unwrap_or(usize::MAX).min(input.len());
    &input[..count]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body in `input`, cut into pieces of `size`, and what is left after it.
    fn body(mut upload: Upload, input: &[u8], size: usize) -> Option<(Vec<u8>, usize)> {
        let mut data = Vec::new();
        let mut at = 0;
        while !upload.is_over() && at < input.len() {
            match upload.take(&input[at..input.len().min(at + size)]) {
                Taken::Data(piece) => {
                    data.extend_from_slice(piece);
                    at += piece.len();
                }
                Taken::Framing(count) => at += count,
                Taken::Malformed => return None,
            }
        }
        upload.is_over().then(|| (data, input.len() - at))
    }

    #[test]
    fn a_body_is_the_same_in_pieces_of_every_size() {
        let input = b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-T: u\r\n\r\nGET";
        for size in 1..=input.len() {
            let expected = (b"abc0123456789".to_vec(), 3);
            assert_eq!(body(Upload::chunked(), input, size), Some(expected), "pieces of {size}");
        }
        for size in 1..=8 {
            let expected = (b"abcde".to_vec(), 3);
            assert_eq!(body(Upload::of_length(5), b"abcdeGET", size), Some(expected));
        }
    }

    #[test]
    fn a_broken_chunk_is_malformed() {
        for input in [&b"g\r\n"[..], b"3\r\nabcd\r\n", b"\r\n\r\n", &[b'1'; LINE_BYTES_MAX + 1]] {
            assert_eq!(body(Upload::chunked(), input, 7000), None);
        }
    }
}
