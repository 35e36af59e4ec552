//! Reads the files of a configuration: the main one and what it includes.

use super::env::Env;
use super::glob;
use super::problem::{Kind, Problem, Report};
use super::schema::ROOT;
use super::source::{FileId, Place, Sources};
use super::tree::{Table, Text};
use super::understand::Understand;
use std::fs::{FileType, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The most files one configuration is made of.
const FILES_MAX: usize = 10_000;
/// How deep includes go.
const DEPTH_MAX: usize = 16;

/// Reads files and understands them, each once.
pub(crate) struct Reader<'a> {
    pub(crate) env: &'a dyn Env,
    pub(crate) report: &'a mut Report,
    pub(crate) sources: &'a mut Sources,
    /// The files understood so far, the main one first.
    pub(crate) trees: Vec<Table>,
    /// The patterns of all includes met.
    pub(crate) includes: Vec<PathBuf>,
    /// Files read so far, by what they are on disk, and where each was asked for.
    seen: Vec<(PathBuf, Option<Place>)>,
    /// The files being read right now, outermost first.
    open: Vec<PathBuf>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        env: &'a dyn Env,
        report: &'a mut Report,
        sources: &'a mut Sources,
    ) -> Reader<'a> {
        Reader {
            env,
            report,
            sources,
            trees: Vec::new(),
            includes: Vec::new(),
            seen: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Reads the main file.
    pub(crate) fn main(&mut self, path: &Path) {
        match read(path) {
            Ok(bytes) => self.file(path, bytes, None),
            Err(unread) => self.no_main_file(&path.display().to_string(), unread),
        }
    }

    /// Says why there is no main file.
    pub(crate) fn unreadable(&mut self, name: &str, why: &str) {
        self.no_main_file(name, Unread { why: why.to_owned(), hint: None });
    }

    fn no_main_file(&mut self, name: &str, Unread { why, hint }: Unread) {
        let file = self.sources.add(name.to_owned(), PathBuf::new(), String::new());
        let reason = match &*why {
            ABSENT => why,
            why => format!("cannot be read: {why}"),
        };
        let place = Place { file, ..Place::default() };
        self.report.add(Problem::error(Kind::Unreadable, place, reason).hint_if(hint));
    }

    /// Takes a text in place of a file; its relative paths start from the current folder.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        let file = self.sources.add(name.to_owned(), PathBuf::new(), text.to_owned());
        self.understand(file, text);
    }

    fn file(&mut self, path: &Path, bytes: Vec<u8>, asked: Option<Place>) {
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let file = self.sources.add(path.display().to_string(), folder, text.clone());
        if let Err(error) = std::str::from_utf8(&bytes) {
            let start = error.valid_up_to() as u32;
            let place = Place { file, start, end: start + 1 };
            self.report.add(Problem::error(Kind::Syntax, place, "not UTF-8"));
            return self.report.loosen();
        }
        self.seen.push((identity.clone(), asked));
        self.open.push(identity);
        self.understand(file, &text);
        self.open.pop();
    }

    fn understand(&mut self, file: FileId, text: &str) {
        let (table, faults) = DeTable::parse_recoverable(text);
        for fault in faults {
            self.syntax(file, text, &fault);
        }
        let place = Place { file, ..Place::default() };
        let mut understand = Understand { file, text, env: self.env, report: self.report };
        let root = understand.table(&ROOT, table.get_ref(), place);
        let includes: Vec<(String, Place)> =
            root.texts("include").map(|Text { text, place }| (text.to_owned(), place)).collect();
        self.trees.push(root);
        for (pattern, place) in includes {
            self.include(&pattern, place);
        }
    }

    /// One problem a line: what follows the first on a line is mostly its echo.
    fn syntax(&mut self, file: FileId, text: &str, fault: &toml::de::Error) {
        let span = fault.span().unwrap_or(0..0);
        let (start, end) = (span.start.min(text.len()), span.end.min(text.len()));
        let place = Place { file, start: start as u32, end: end as u32 };
        let line = self.sources.file(file).line_range(place.start);
        if fault.message().starts_with("duplicate key") {
            let name = text.get(start..end).unwrap_or("").to_owned();
            let mut problem =
                Problem::error(Kind::Duplicate, place, format!("`{name}` is given twice"));
            if let Some(first) = earlier(text, start) {
                let first = Place { file, start: first.start as u32, end: first.end as u32 };
                problem = problem.related(first, "first here");
            }
            return self.report.add(problem);
        }
        if self.report.note_broken(file, line) {
            let reason = format!("not TOML: {}", fault.message());
            let hint = self.syntax_hint(place, fault.message());
            self.report.add_syntax(Problem::error(Kind::Syntax, place, reason).hint_if(hint));
        }
    }

    /// What is most often meant where TOML is broken like this.
    fn syntax_hint(&self, place: Place, message: &str) -> Option<String> {
        let source = self.sources.file(place.file);
        let line = source.line_range(place.start);
        let before = source.slice(line.start, place.start);
        let quote = match message {
            "invalid basic string, expected `\"`" => '"',
            "invalid literal string, expected `'`" => '\'',
            "string values must be quoted, expected literal string" => {
                let text = source.slice(place.start, place.end).trim();
                return (!text.is_empty() && !text.contains(char::is_whitespace))
                    .then(|| format!("write \"{}\"", text.escape_debug()));
            }
            "missing comma between array elements, expected `,`" => {
                let follows = before.ends_with(['"', '\'']);
                return follows.then(|| "is a quote missing before this?".to_owned());
            }
            _ => return None,
        };
        let column = before[..before.rfind(quote)?].chars().count() + 1;
        Some(format!("end the text that begins in column {column} with a {quote}"))
    }

    fn include(&mut self, pattern: &str, place: Place) {
        let fault = |reason: String| Problem::error(Kind::Include, place, reason);
        if self.open.len() >= DEPTH_MAX {
            return self.report.add(fault(format!("includes go deeper than {DEPTH_MAX} files")));
        }
        let path = self.sources.resolve(place, pattern);
        self.includes.push(path.clone());
        let files = match glob::expand(&path) {
            Ok(files) => files,
            Err((folder, error)) => {
                self.report.loosen();
                let reason = format!("{} cannot be listed: {error}", folder.display());
                return self.report.add(fault(reason));
            }
        };
        for path in files {
            if self.sources.files().len() >= FILES_MAX {
                return self.report.add(fault(format!("more than {FILES_MAX} files")));
            }
            self.included(&path, place);
        }
    }

    fn included(&mut self, path: &Path, place: Place) {
        let name = path.display();
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(Unread { why, hint }) => {
                self.report.loosen();
                let reason = format!("{name} cannot be read: {why}");
                let problem = Problem::error(Kind::Include, place, reason);
                return self.report.add(problem.hint_if(hint));
            }
        };
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.open.contains(&identity) {
            let reason = format!("{name} includes itself");
            let hint = "a file may include files that do not lead back to it";
            let problem = Problem::error(Kind::Include, place, reason).hint(hint);
            return self.report.add(self.with_first(problem, &identity, "which is included here"));
        }
        if self.seen.iter().any(|(seen, _)| *seen == identity) {
            let problem = Problem::error(Kind::Include, place, format!("{name} is included twice"));
            return self.report.add(self.with_first(problem, &identity, "first here"));
        }
        self.file(path, bytes, Some(place));
    }

    fn with_first(&self, problem: Problem, identity: &Path, text: &str) -> Problem {
        match self.seen.iter().find(|(seen, _)| seen == identity) {
            Some((_, Some(first))) => problem.related(*first, text),
            _ => problem,
        }
    }
}

/// Why a file that is not there cannot be read.
const ABSENT: &str = "there is no such file";

/// Why a file was not read, and what to do.
struct Unread {
    why: String,
    hint: Option<String>,
}

impl From<std::io::Error> for Unread {
    fn from(error: std::io::Error) -> Unread {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => ABSENT.to_owned(),
            _ => error.to_string(),
        };
        Unread { why, hint: None }
    }
}

/// Reads a regular file, and waits for nobody: to open a pipe is to wait for who writes it, and
/// what is read from a device may never end.
fn read(path: &Path) -> Result<Vec<u8>, Unread> {
    must_be_regular(std::fs::metadata(path)?.file_type())?;
    // Something else may stand there by now.
    let unwaiting = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(unwaiting).open(path)?;
    must_be_regular(file.metadata()?.file_type())?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => {
            let why = format!("it has more than {FILE_BYTES_MAX} bytes, which is the most");
            Err(Unread { why, hint: None })
        }
        false => Ok(bytes),
    }
}

fn must_be_regular(of: FileType) -> Result<(), Unread> {
    let what = match of {
        of if of.is_file() => return Ok(()),
        of if of.is_dir() => return Err(Unread { why: "it is a folder".to_owned(), hint: None }),
        of if of.is_fifo() => "a pipe",
        of if of.is_socket() => "a socket",
        _ => "a device",
    };
    let why = format!("it is {what}; a configuration is a regular file, which may be read again");
    Err(Unread { why, hint: Some("write it to a file, and name that".to_owned()) })
}

/// Where the key or header that starts in the line of `at` was given before.
fn earlier(text: &str, at: usize) -> Option<std::ops::Range<usize>> {
    let line_start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let own = head_of(text[line_start..].lines().next()?);
    let header = own.starts_with('[');
    let mut end = line_start;
    for line in text[..line_start].lines().rev() {
        end = text[..end].rfind(line)?;
        let trimmed = line.trim_start();
        if head_of(line) == own {
            let start = end + (line.len() - trimmed.len());
            return Some(start..start + own.len());
        }
        if !header && trimmed.starts_with('[') {
            return None;
        }
    }
    None
}

/// A header, or what stands before the `=`.
fn head_of(line: &str) -> &str {
    let line = line.trim_start();
    match line.starts_with('[') {
        true => line.split('#').next().unwrap_or("").trim_end(),
        false => line.split('=').next().unwrap_or("").trim_end(),
    }
}
