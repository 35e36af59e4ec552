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
    let text = file.line(line);
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
