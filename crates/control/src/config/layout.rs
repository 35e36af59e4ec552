//! One way to write a file down: `gatehouse fmt`. Comments, order and the spelling of values stay;
//! white space, blank lines and line breaks become what this file says. Doing it twice changes
//! nothing more.

use toml::de::DeTable;
use toml_parser::Source;
use toml_parser::parser::{Event, EventKind, RecursionGuard, parse_document};

/// Lines longer than this have their lists broken.
const COLUMNS_MAX: usize = 100;
const INDENT: usize = 4;
/// How deep values nest; the parser of configurations refuses more.
const DEPTH_MAX: u32 = 80;

/// The text is not TOML: `gatehouse check` says where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotToml;

/// The canonical form of a text.
///
/// # Errors
/// Where the text is not TOML.
pub fn layout(text: &str) -> Result<String, NotToml> {
    if !DeTable::parse_recoverable(text).1.is_empty() {
        return Err(NotToml);
    }
    let source = Source::new(text);
    let tokens = source.lex().into_vec();
    let mut events: Vec<Event> = Vec::with_capacity(tokens.len());
    parse_document(&tokens, &mut RecursionGuard::new(&mut events, DEPTH_MAX), &mut ());
    events.retain(|event| event.kind() != EventKind::Whitespace);
    let lines = Cursor { text, events: &events, at: 0, stray: Vec::new() }.lines();
    Ok(write_lines(&lines))
}

/// A line of the file, or a pair with a value of several lines.
enum Line<'t> {
    Blank,
    Comment(&'t str),
    Header { text: String, comment: Option<&'t str> },
    Pair { key: String, value: Node<'t>, comment: Option<&'t str> },
}

enum Node<'t> {
    Scalar(&'t str),
    Nested(Block<'t>),
}

/// A list or an inline table.
struct Block<'t> {
    kind: BlockKind,
    members: Vec<Member<'t>>,
    /// Comments behind the last member.
    tail: Vec<&'t str>,
    /// Whether it is written over several lines.
    broken: Broken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    List,
    Table,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Yes,
    IfLong,
}

struct Member<'t> {
    before: Vec<&'t str>,
    /// Empty in a list.
    key: String,
    value: Node<'t>,
    comment: Option<&'t str>,
}

/// Walks the parser's events, white space left out.
struct Cursor<'t> {
    text: &'t str,
    events: &'t [Event],
    at: usize,
    /// Comments between a key and its value, which the parser lets pass.
    stray: Vec<&'t str>,
}

impl<'t> Cursor<'t> {
    fn peek(&self) -> Option<EventKind> {
        self.events.get(self.at).map(Event::kind)
    }

    fn next(&mut self) -> Option<(EventKind, &'t str)> {
        let event = self.events.get(self.at)?;
        self.at += 1;
        Some((event.kind(), &self.text[event.span().start()..event.span().end()]))
    }

    fn lines(mut self) -> Vec<Line<'t>> {
        let mut lines = Vec::new();
        let mut fresh = true;
        while let Some((kind, text)) = self.next() {
            match kind {
                EventKind::Newline if fresh => lines.push(Line::Blank),
                EventKind::Newline => fresh = true,
                EventKind::Comment => {
                    lines.push(Line::Comment(text.trim_end()));
                    fresh = false;
                }
                EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                    let keys = self.keys("");
                    let close = self.next().map_or("", |(_, close)| close);
                    let text = format!("{text}{keys}{close}");
                    lines.push(Line::Header { text, comment: self.comment() });
                    fresh = false;
                }
                EventKind::SimpleKey => {
                    let key = self.keys(text);
                    self.next();
                    let value = self.value();
                    lines.push(Line::Pair { key, value, comment: self.comment() });
                    fresh = false;
                }
                _ => {}
            }
        }
        lines
    }

    /// A dotted key, of which `first` was taken already.
    fn keys(&mut self, first: &str) -> String {
        let mut key = first.to_owned();
        while let Some(EventKind::SimpleKey | EventKind::KeySep) = self.peek() {
            key.push_str(self.next().map_or("", |(_, text)| text));
        }
        key
    }

    /// The comment at the end of this line.
    fn comment(&mut self) -> Option<&'t str> {
        match self.peek() {
            Some(EventKind::Comment) => self.next().map(|(_, text)| text.trim_end()),
            _ => None,
        }
    }

    /// Passes over line breaks where there should be none, and keeps their comments.
    fn pass_breaks(&mut self) {
        while let Some(kind @ (EventKind::Newline | EventKind::Comment)) = self.peek() {
            let text = self.next().map_or("", |(_, text)| text.trim_end());
            if kind == EventKind::Comment {
                self.stray.push(text);
            }
        }
    }

    fn value(&mut self) -> Node<'t> {
        self.pass_breaks();
        match self.next() {
            Some((EventKind::ArrayOpen, _)) => Node::Nested(self.block(BlockKind::List)),
            Some((EventKind::InlineTableOpen, _)) => Node::Nested(self.block(BlockKind::Table)),
            Some((_, text)) => Node::Scalar(text),
            None => Node::Scalar(""),
        }
    }

    fn block(&mut self, kind: BlockKind) -> Block<'t> {
        let mut block =
            Block { kind, members: Vec::new(), tail: Vec::new(), broken: Broken::IfLong };
        let mut same_line = false;
        while let Some(next) = self.peek() {
            match next {
                EventKind::ArrayClose | EventKind::InlineTableClose => {
                    self.next();
                    break;
                }
                EventKind::Newline => {
                    self.next();
                    block.broken = Broken::Yes;
                    same_line = false;
                }
                EventKind::ValueSep => {
                    self.next();
                }
                EventKind::Comment => {
                    let text = self.next().map_or("", |(_, text)| text.trim_end());
                    block.broken = Broken::Yes;
                    match block.members.last_mut() {
                        Some(member) if same_line => member.comment = Some(text),
                        _ => block.tail.push(text),
                    }
                }
                _ => {
                    let key = match next {
                        EventKind::SimpleKey => self.keys(""),
                        _ => String::new(),
                    };
                    self.pass_breaks();
                    if self.peek() == Some(EventKind::KeyValSep) {
                        self.next();
                    }
                    let value = self.value();
                    let mut before = std::mem::take(&mut block.tail);
                    before.append(&mut self.stray);
                    if !before.is_empty() || (kind == BlockKind::List && value.is_broken()) {
                        block.broken = Broken::Yes;
                    }
                    block.members.push(Member { before, key, value, comment: None });
                    same_line = true;
                }
            }
        }
        block
    }
}

impl Node<'_> {
    fn is_broken(&self) -> bool {
        match self {
            Node::Scalar(text) => text.contains('\n'),
            Node::Nested(block) => {
                block.broken == Broken::Yes
                    || block.members.iter().any(|member| member.value.is_broken())
            }
        }
    }

    /// Writes the value, whose line starts `indent` columns in and has `column` columns already;
    /// without a `column` no list is broken for its length.
    fn write(&self, indent: usize, column: Option<usize>, out: &mut String) {
        match self {
            Node::Scalar(text) => out.push_str(text),
            Node::Nested(block) => block.write(indent, column, out),
        }
    }
}

impl Block<'_> {
    fn write(&self, indent: usize, column: Option<usize>, out: &mut String) {
        let (open, close, gap) = match self.kind {
            BlockKind::List => ("[", "]", ""),
            BlockKind::Table => ("{", "}", " "),
        };
        let start = out.len();
        out.push_str(open);
        if self.broken == Broken::IfLong {
            // A table on one line stays there, and what is in it: older parsers know no other.
            let column = column.filter(|_| self.kind == BlockKind::List);
            self.write_inline(gap, indent, out);
            out.push_str(close);
            let columns = out[start..].lines().map(|line| line.chars().count()).max().unwrap_or(0);
            if column.is_none_or(|column| column + columns <= COLUMNS_MAX) {
                return;
            }
            out.truncate(start + open.len());
        }
        let inside = indent + INDENT;
        for member in &self.members {
            for comment in &member.before {
                new_line(inside, out);
                out.push_str(comment);
            }
            new_line(inside, out);
            member.write(inside, Some(inside), out);
            out.push(',');
            if let Some(comment) = member.comment {
                out.push(' ');
                out.push_str(comment);
            }
        }
        for comment in &self.tail {
            new_line(inside, out);
            out.push_str(comment);
        }
        if !self.members.is_empty() || !self.tail.is_empty() {
            new_line(indent, out);
        }
        out.push_str(close);
    }

    fn write_inline(&self, gap: &str, indent: usize, out: &mut String) {
        if self.members.is_empty() {
            return;
        }
        out.push_str(gap);
        for (at, member) in self.members.iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            member.write(indent, None, out);
        }
        out.push_str(gap);
    }
}

impl Member<'_> {
    fn write(&self, indent: usize, column: Option<usize>, out: &mut String) {
        let mut column = column;
        if !self.key.is_empty() {
            out.push_str(&self.key);
            out.push_str(" = ");
            column = column.map(|column| column + self.key.chars().count() + 3);
        }
        self.value.write(indent, column, out);
    }
}

fn new_line(indent: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

fn write_lines(lines: &[Line<'_>]) -> String {
    let mut out = String::new();
    let mut blank = false;
    let mut behind_header = false;
    for (at, line) in lines.iter().enumerate() {
        if matches!(line, Line::Blank) {
            blank = !behind_header;
            continue;
        }
        let wanted = blank || (leads_to_header(lines, at) && !continues(lines, at));
        if wanted && !out.is_empty() {
            out.push('\n');
        }
        blank = false;
        behind_header = matches!(line, Line::Header { .. });
        let comment = match line {
            Line::Blank => None,
            Line::Comment(text) => {
                out.push_str(text);
                None
            }
            Line::Header { text, comment } => {
                out.push_str(text);
                *comment
            }
            Line::Pair { key, value, comment } => {
                out.push_str(key);
                out.push_str(" = ");
                value.write(0, Some(key.chars().count() + 3), &mut out);
                *comment
            }
        };
        if let Some(comment) = comment {
            out.push(' ');
            out.push_str(comment);
        }
        out.push('\n');
    }
    out
}

/// Whether this is a header, or a comment that stands directly on one.
fn leads_to_header(lines: &[Line<'_>], at: usize) -> bool {
    let comments = lines[at..].iter().take_while(|line| matches!(line, Line::Comment(_))).count();
    matches!(lines.get(at + comments), Some(Line::Header { .. }))
}

/// Whether the line before is a comment that belongs to the same header.
fn continues(lines: &[Line<'_>], at: usize) -> bool {
    at > 0 && matches!(lines[at - 1], Line::Comment(_))
}
