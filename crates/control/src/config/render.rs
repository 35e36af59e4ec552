//! Problems as people read them, with an excerpt, and as scripts do.

use super::json::Json;
use super::problem::{Problem, Severity};
use super::source::{LineColumn, Place, Sources};
use super::{Kind, Loaded};
use std::fmt::Write;

/// The most characters of a line that are shown.
const EXCERPT_COLUMNS_MAX: usize = 160;

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// No.
    Plain,
    /// Yes: the reader is a terminal.
    Colour,
}

impl Paint {
    fn put(self, style: &str, text: &str) -> String {
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Colour => format!("\x1b[{style}m{text}\x1b[0m"),
        }
    }

    fn severity(self, severity: Severity) -> String {
        match severity {
            Severity::Error => self.put("1;31", severity.word()),
            Severity::Warning => self.put("1;33", severity.word()),
        }
    }

    fn dim(self, text: &str) -> String {
        self.put("34", text)
    }
}

/// All problems of a configuration, one behind the other, each with an excerpt.
pub fn render(loaded: &Loaded, paint: Paint) -> String {
    let mut out = String::new();
    for problem in &loaded.problems {
        one(&loaded.sources, problem, paint, &mut out);
        out.push('\n');
    }
    if loaded.left_out > 0 {
        let _ = writeln!(out, "and {} problems more", loaded.left_out);
    }
    out
}

fn one(sources: &Sources, problem: &Problem, paint: Paint, out: &mut String) {
    let word = paint.severity(problem.severity);
    let reason = paint.put("1", &visible(&problem.reason));
    if problem.kind == Kind::Unreadable {
        let name = &sources.file(problem.place.file).name;
        let _ = writeln!(out, "{name}: {word}: {reason}");
        return hinted(problem, 1, paint, out);
    }
    let _ = writeln!(out, "{}: {word}: {reason}", sources.show(problem.place));
    let numbers = problem.related.iter().map(|related| related.place);
    let lines = std::iter::once(problem.place).chain(numbers);
    let width = lines.map(|place| sources.line_column(place).line.to_string().len()).max();
    let gutter = width.unwrap_or(1);
    let marker = match problem.severity {
        Severity::Error => "1;31",
        Severity::Warning => "1;33",
    };
    excerpt(sources, problem.place, gutter, (paint, marker), out);
    for related in &problem.related {
        let arrow = paint.dim("-->");
        let place = sources.show(related.place);
        let _ = writeln!(out, "{:gutter$} {arrow} {place}: {}", "", related.text);
        excerpt(sources, related.place, gutter, (paint, "1;34"), out);
    }
    hinted(problem, gutter, paint, out);
}

fn hinted(problem: &Problem, gutter: usize, paint: Paint, out: &mut String) {
    if let Some(hint) = &problem.hint {
        let word = paint.put("1;36", "hint");
        let _ = writeln!(out, "{:gutter$} {} {word}: {}", "", paint.dim("="), visible(hint));
    }
}

/// The line of a place with what is meant underlined.
fn excerpt(
    sources: &Sources,
    place: Place,
    gutter: usize,
    (paint, marker): (Paint, &str),
    out: &mut String,
) {
    let LineColumn { line, column } = sources.line_column(place);
    let file = sources.file(place.file);
    let text = &masked(file.line(line));
    if text.trim().is_empty() {
        return;
    }
    let skipped = (column as usize).saturating_sub(EXCERPT_COLUMNS_MAX / 2);
    let skipped = if text.chars().count() > EXCERPT_COLUMNS_MAX { skipped } else { 0 };
    let shown: String = text.chars().skip(skipped).take(EXCERPT_COLUMNS_MAX).collect();
    let before = (column as usize - 1).saturating_sub(skipped);
    let meant = file.slice(place.start, place.end);
    let meant = meant.lines().next().unwrap_or("").chars().count();
    let room = shown.chars().count().saturating_sub(before);
    let carets = "^".repeat(meant.min(room).max(1));
    let bar = paint.dim("|");
    let number = paint.dim(&format!("{line:>gutter$}"));
    let indent: String = shown.chars().take(before).map(blank).collect();
    let _ = writeln!(out, "{number} {bar} {}", visible(&shown));
    let _ = writeln!(out, "{:gutter$} {bar} {indent}{}", "", paint.put(marker, &carets));
}

/// Keys whose values are shown to nobody.
const SECRET_KEYS: [&str; 3] = ["password", "secret", "token"];

/// A line of a file, as wide as it is, without what stands in quotes behind the keys of secrets.
/// The line may be no TOML: it is shown because something is wrong with it.
fn masked(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((key, at)) = first_secret(rest) {
        let (before, behind) = rest.split_at(at + key.len());
        out.push_str(before);
        rest = behind;
        let value = rest.trim_start_matches(['"', '\'', ' ', '\t']);
        let Some(value) = value.strip_prefix('=') else { continue };
        let value = value.trim_start_matches([' ', '\t']);
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            continue;
        };
        let value = value.trim_start_matches(quote);
        out.push_str(&rest[..rest.len() - value.len()]);
        let hidden = end_of_text(value, quote);
        out.extend(value[..hidden].chars().map(|_| '*'));
        rest = &value[hidden..];
    }
    without_userinfo(&(out + rest))
}

/// The same of users and passwords in URLs.
pub(crate) fn without_userinfo(line: &str) -> String {
    let mut parts = line.split("://");
    let mut out = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let end = part.find(|c: char| matches!(c, '/' | '"' | '\'') || c.is_whitespace());
        let authority = &part[..end.unwrap_or(part.len())];
        let hidden = authority.rfind('@').unwrap_or(0);
        out.push_str("://");
        out.extend(part[..hidden].chars().map(|_| '*'));
        out.push_str(&part[hidden..]);
    }
    out
}

/// The first key of a secret in a text, and where it begins.
fn first_secret(text: &str) -> Option<(&'static str, usize)> {
    let found = SECRET_KEYS.iter().filter_map(|key| Some((*key, text.find(key)?)));
    found.min_by_key(|(_, at)| *at)
}

/// Where a text ends that stands in these quotes, or all does.
fn end_of_text(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.find(|c: char| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && quote == '"' && !escaped;
        ends
    });
    end.unwrap_or(text.len())
}

/// White space as wide as a character; tabs stay tabs.
fn blank(c: char) -> char {
    if c == '\t' { '\t' } else { ' ' }
}

/// A text a terminal cannot be steered with: a file may hold anything.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A problem for scripts.
pub fn problem_json(sources: &Sources, problem: &Problem) -> Json {
    let place = |place: Place| {
        let LineColumn { line, column } = sources.line_column(place);
        [
            ("file", Json::text(&sources.file(place.file).name)),
            ("line", Json::Count(line.into())),
            ("column", Json::Count(column.into())),
        ]
    };
    let related = problem.related.iter().map(|related| {
        let [file, line, column] = place(related.place);
        Json::object([file, line, column, ("text", Json::text(&related.text))])
    });
    let [file, line, column] = place(problem.place);
    Json::object([
        ("severity", Json::text(problem.severity.word())),
        ("kind", Json::text(problem.kind.word())),
        file,
        line,
        column,
        ("reason", Json::text(&problem.reason)),
        ("hint", Json::text_or_null(problem.hint.as_deref())),
        ("related", Json::list(related)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown_and_everything_else_is() {
        for (line, shown) in [
            ("password = \"hunter2\"", "password = \"*******\""),
            (
                "a = { user = \"u\", password=\'x\', b = 1",
                "a = { user = \"u\", password=\'*\', b = 1",
            ),
            ("\"password\" = \"a\\\"b\" # c", "\"password\" = \"****\" # c"),
            ("token = \"\"\"abc", "token = \"\"\"***"),
            ("token = \"never ends", "token = \"**********"),
            ("token = \"é1\", secret = \"2\"", "token = \"**\", secret = \"*\""),
            ("password = { file = \"p\" }", "password = { file = \"p\" }"),
            ("tokens = 3 and password", "tokens = 3 and password"),
            ("bind = \":80\"", "bind = \":80\""),
            ("a = [\"http://u:p@b/c@d\"]", "a = [\"http://***@b/c@d\"]"),
            ("a = \"http://b\" # c@d", "a = \"http://b\" # c@d"),
        ] {
            assert_eq!(masked(line), shown);
        }
    }
}
