//! What bodies carry: of every byte it can be told whose it is and where it stands.

/// The bytes of one body: blocks of 16, each with its owner and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// `q` for a request, `a` for an answer, others for tunnels.
    pub kind: u8,
    /// The number of the request, or of the answer.
    pub number: u32,
    /// Bytes.
    pub length: usize,
}

const BLOCK: usize = 16;
const HEX: &[u8; 16] = b"0123456789abcdef";

impl Content {
    fn block(self, index: usize) -> [u8; BLOCK] {
        let mut block = *b"?0000000.00000\r\n";
        block[0] = self.kind;
        for (at, slot) in block[1..8].iter_mut().enumerate() {
            *slot = HEX[(self.number >> (24 - 4 * at)) as usize & 15];
        }
        for (at, slot) in block[9..14].iter_mut().enumerate() {
            *slot = HEX[(index >> (16 - 4 * at)) & 15];
        }
        block
    }

    /// Appends `count` bytes from `at` on.
    pub fn append(self, at: usize, count: usize, out: &mut Vec<u8>) {
        let (mut at, end) = (at, at + count);
        while at < end {
            let within = at % BLOCK;
            let take = (BLOCK - within).min(end - at);
            out.extend_from_slice(&self.block(at / BLOCK)[within..within + take]);
            at += take;
        }
    }

    /// Starts to hold what comes against it.
    #[must_use]
    pub fn read(self) -> Reading {
        Reading { content: self, taken: 0, wrong: None }
    }
}

/// A body while it is read.
#[derive(Debug)]
pub struct Reading {
    content: Content,
    taken: usize,
    wrong: Option<String>,
}

impl Reading {
    /// Holds the next bytes against what they have to be.
    pub fn take(&mut self, bytes: &[u8]) {
        let mut expected = Vec::with_capacity(bytes.len());
        self.content.append(self.taken, bytes.len(), &mut expected);
        if self.wrong.is_none() && expected != bytes {
            let at = expected.iter().zip(bytes).position(|(one, other)| one != other).unwrap_or(0);
            let shown = bytes[at..bytes.len().min(at + 2 * BLOCK)].escape_ascii();
            self.wrong = Some(format!("at {} stands {shown}", self.taken + at));
        }
        self.taken += bytes.len();
    }

    /// Bytes so far.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// The first byte that is not what it has to be, or one too many.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        let Content { length, .. } = self.content;
        let more = || (self.taken > length).then(|| format!("{} bytes of {length}", self.taken));
        self.wrong.clone().or_else(more)
    }
}
