//! Regular expressions: compiled once, refused here.

use super::super::problem::{Kind, Problem};
use super::super::tree::Text;
use super::Lower;
use regex::bytes::{Regex, RegexBuilder};

/// The longest pattern.
const PATTERN_BYTES_MAX: usize = 4 * 1024;
/// The most memory one compiled pattern takes.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// How deep groups may nest.
const NEST_MAX: u32 = 64;

impl Lower<'_> {
    /// Compiles a pattern; `offset` is how many bytes of the text stand before it.
    pub(super) fn pattern(&mut self, written: Text<'_>, offset: usize) -> Option<Regex> {
        let Text { text, place } = written;
        let pattern = &text[offset..];
        if pattern.len() > PATTERN_BYTES_MAX {
            let reason =
                format!("a pattern of {} bytes; {PATTERN_BYTES_MAX} is the most", pattern.len());
            self.error(Kind::Pattern, place, reason);
            return None;
        }
        let mut builder = RegexBuilder::new(pattern);
        builder.size_limit(PROGRAM_BYTES_MAX).nest_limit(NEST_MAX);
        let problem = match builder.build() {
            Ok(regex) => return Some(regex),
            Err(regex::Error::Syntax(message)) => self.syntax_problem(written, offset, &message),
            Err(regex::Error::CompiledTooBig(limit)) => {
                let reason = format!("the pattern needs more than {limit} bytes when compiled");
                Problem::error(Kind::Pattern, place, reason)
                    .hint("lower its counts, or write `(?-u)` first where ASCII is enough")
            }
            Err(other) => Problem::error(Kind::Pattern, place, other.to_string()),
        };
        self.report.add(problem);
        None
    }

    /// The regex crate draws the pattern with carets below what is wrong and ends in a line that
    /// says it: the carets become a place where the file shows the pattern as it is.
    fn syntax_problem(&self, written: Text<'_>, offset: usize, message: &str) -> Problem {
        let Text { text, mut place } = written;
        let said = message.lines().last().unwrap_or("").trim();
        let said = said.strip_prefix("error: ").unwrap_or(said);
        let source = self.sources.file(place.file).slice(place.start, place.end);
        let carets = message.lines().find_map(|line| {
            let start = line.find('^').filter(|_| line.trim_matches([' ', '^']).is_empty())?;
            Some((start.checked_sub(4)?, line.trim_end().len() - start))
        });
        if let (Some(at), Some((start, length)), true) =
            (source.find(text), carets, text.is_ascii() && !text.contains('\n'))
        {
            let start = place.start + (at + offset + start) as u32;
            let end = (start + length as u32).min(place.end);
            if start <= end {
                (place.start, place.end) = (start, end);
            }
        }
        Problem::error(Kind::Pattern, place, format!("the pattern does not compile: {said}"))
    }

    /// Checks that a replacement names groups its pattern has.
    pub(super) fn replacement(&mut self, pattern: &Regex, written: Text<'_>) -> Option<Box<[u8]>> {
        let Text { text, place } = written;
        for name in group_names(text) {
            let known = match name.parse::<usize>() {
                Ok(number) => number < pattern.captures_len(),
                Err(_) => pattern.capture_names().flatten().any(|own| own == name),
            };
            if known {
                continue;
            }
            let digits = name.bytes().take_while(u8::is_ascii_digit).count();
            let problem =
                Problem::error(Kind::Pattern, place, format!("the pattern has no group `{name}`"));
            let hint = match digits {
                0 => "write `$$$$` for a dollar".to_owned(),
                digits if digits == name.len() => {
                    format!("its groups are 0 to {}", pattern.captures_len() - 1)
                }
                digits => format!("write `$${{{}}}{}`", &name[..digits], &name[digits..]),
            };
            self.report.add(problem.hint(hint));
            return None;
        }
        Some(text.as_bytes().into())
    }
}

/// The groups a replacement names, as the regex crate reads them.
fn group_names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('$') {
            rest = tail;
        } else if let Some((name, tail)) =
            rest.strip_prefix('{').and_then(|braced| braced.split_once('}'))
        {
            names.push(name);
            rest = tail;
        } else {
            let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = rest.find(|c| !named(c)).unwrap_or(rest.len());
            if end > 0 {
                names.push(&rest[..end]);
            }
            rest = &rest[end..];
        }
    }
    names
}
