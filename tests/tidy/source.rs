//! One file as the rules see it: its text, its code with comments and literals blanked out, and
//! which lines are tests.

/// A file of the tree.
pub struct Source {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
    /// The text with the same lines, in which comments and string literals are spaces.
    pub code: String,
    /// For each line, whether it is a test.
    tests: Vec<bool>,
    /// Lines that begin inside a literal, counted from 1.
    data: Vec<usize>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let rust = path.ends_with(".rs");
        let (code, data) = if rust { blank(text) } else { (text.to_owned(), Vec::new()) };
        let tests = test_lines(path, &code);
        Self { path: path.to_owned(), text: text.to_owned(), code, tests, data }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the line, counted from 1, is inside `#[cfg(test)]` or a `tests` or `benches` folder.
    pub fn is_test(&self, line: usize) -> bool {
        self.tests.get(line - 1).copied().unwrap_or(false)
    }

    /// Whether the line, counted from 1, begins inside a literal: to break it would change it.
    pub fn is_data(&self, line: usize) -> bool {
        self.data.binary_search(&line).is_ok()
    }

    /// Lines of code where `word` stands as a whole word, counted from 1.
    pub fn lines_with(&self, word: &str) -> Vec<usize> {
        let found = words(&self.code, word);
        let mut lines: Vec<usize> = found.into_iter().map(|at| line_of(&self.code, at)).collect();
        lines.dedup();
        lines
    }
}

/// Where `word` stands with no identifier character touching its ends.
pub fn words(code: &str, word: &str) -> Vec<usize> {
    let touches = |c: Option<char>| c.is_some_and(is_name);
    let starts_open = !word.starts_with(is_name);
    let ends_open = !word.ends_with(is_name);
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| starts_open || !touches(code[..at].chars().next_back()))
        .filter(|&at| ends_open || !touches(code[at + word.len()..].chars().next()))
        .collect()
}

pub fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// Where the item that starts at `from` ends: at its matching brace, or at its semicolon if that
/// comes first.
pub fn item_end(code: &str, from: usize) -> Option<usize> {
    let (mut braces, mut others) = (0, 0);
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'{' => braces += 1,
            b'}' if braces <= 1 => return Some(at),
            b'}' => braces -= 1,
            b'(' | b'[' => others += 1,
            b')' | b']' => others -= 1,
            b';' if braces == 0 && others == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

fn test_lines(path: &str, code: &str) -> Vec<bool> {
    let whole = ["tests/", "benches/"].iter().any(|folder| {
        path.starts_with(folder)
            || path.contains(&format!("/{folder}"))
            || path.ends_with("/tests.rs")
    });
    let mut lines = vec![whole; code.lines().count()];
    for (at, _) in code.match_indices("#[cfg(test)]") {
        let item = at + "#[cfg(test)]".len();
        let end = item_end(code, item).unwrap_or(code.len());
        for line in line_of(code, at)..=line_of(code, end.min(code.len())) {
            if let Some(test) = lines.get_mut(line - 1) {
                *test = true;
            }
        }
    }
    lines
}

/// What stands at a place of the text.
#[derive(PartialEq, Eq)]
enum Piece {
    Code,
    Comment,
    Literal,
}

/// Blanks comments, strings and character literals, byte for byte, so that places stay the same.
/// Also says which lines begin inside a literal.
fn blank(text: &str) -> (String, Vec<usize>) {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut data = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let (length, piece) = piece(bytes, at);
        let end = (at + length.max(1)).min(bytes.len());
        for &byte in &bytes[at..end] {
            let code = piece == Piece::Code || byte == b'\n';
            out.push(if code { byte } else { b' ' });
            if byte == b'\n' {
                line += 1;
                data.extend((piece == Piece::Literal).then_some(line));
            }
        }
        at = end;
    }
    (String::from_utf8_lossy(&out).into_owned(), data)
}

fn piece(bytes: &[u8], at: usize) -> (usize, Piece) {
    let rest = &bytes[at..];
    let after_name = at > 0 && is_name(char::from(bytes[at - 1]));
    if rest.starts_with(b"//") {
        return (find(rest, b"\n").unwrap_or(rest.len()), Piece::Comment);
    }
    if rest.starts_with(b"/*") {
        return (block_comment(rest), Piece::Comment);
    }
    if let Some(length) = raw_string(rest).filter(|_| !after_name) {
        return (length, Piece::Literal);
    }
    match rest[0] {
        b'"' => (quoted(rest, b'"'), Piece::Literal),
        b'\'' => character(rest).map_or((1, Piece::Code), |length| (length, Piece::Literal)),
        _ => (1, Piece::Code),
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if rest[at..].starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// `r"..."`, `r#"..."#`, with `b` or `c` before it.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = usize::from(matches!(rest[0], b'b' | b'c'));
    let tail = rest.get(prefix..)?.strip_prefix(b"r")?;
    let hashes = tail.iter().take_while(|&&byte| byte == b'#').count();
    let body = tail.get(hashes..)?.strip_prefix(b"\"")?;
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let inside = find(body, &close).map_or(body.len(), |end| end + close.len());
    Some(prefix + 1 + hashes + 1 + inside)
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal, and not a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    match rest.get(1)? {
        b'\\' => Some(quoted(rest, b'\'')),
        _ => {
            let text = std::str::from_utf8(&rest[1..rest.len().min(5)]);
            let valid = text.map_or_else(|error| error.valid_up_to(), str::len);
            let first = std::str::from_utf8(&rest[1..1 + valid]).ok()?.chars().next()?;
            let close = 1 + first.len_utf8();
            (rest.get(close) == Some(&b'\'')).then_some(close + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_places_stay() {
        let text =
            "let a = \"tokio\"; // tokio\nlet b = r#\"to\"kio\"#; /* a /* b */ c */ let c = 'x';\n";
        let (code, _) = blank(text);
        assert_eq!(code.len(), text.len());
        assert!(!code.contains("tokio") && !code.contains("kio") && !code.contains('x'));
        assert_eq!(code.find("let c"), text.find("let c"));
    }

    #[test]
    fn a_lifetime_is_code_and_a_quote_character_is_not_the_start_of_a_string() {
        let (code, _) = blank("fn f<'a>(x: &'a str) { g('\"', '\\'', '{'); tokio }");
        assert!(code.contains("<'a>") && code.contains("tokio }") && !code.contains("{') "));
        assert_eq!(code.matches('{').count(), 1);
    }

    #[test]
    fn lines_of_a_test_module_are_known() {
        let source = Source::new(
            "a/src/x.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}\n",
        );
        let tests: Vec<bool> = (1..=6).map(|line| source.is_test(line)).collect();
        assert_eq!(tests, [false, true, true, true, true, false]);
    }

    #[test]
    fn a_line_that_begins_inside_a_literal_is_data() {
        let source = Source::new("a.rs", "let a = \"b\n c\n\"; // d\n/*\n*/ let e = 1;\n");
        let data: Vec<bool> = (1..=5).map(|line| source.is_data(line)).collect();
        assert_eq!(data, [false, true, true, false, false]);
    }

    #[test]
    fn a_word_is_found_whole_only() {
        assert_eq!(words("tokio tokios xtokio tokio::x", "tokio"), [0, 20]);
    }
}
