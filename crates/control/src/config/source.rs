//! The files a configuration was read from, and places in them.

use std::path::{Path, PathBuf};

/// A file's place in its [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u16);

/// Some bytes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte; may equal `start`.
    pub end: u32,
}

/// A place as a person counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineColumn {
    /// The line, from 1.
    pub line: u32,
    /// The character of the line, from 1.
    pub column: u32,
}

/// One file as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// What messages call it: the path as the operator wrote it.
    pub name: String,
    /// The folder its relative paths start from.
    pub folder: PathBuf,
    /// Its text; empty where it could not be read.
    pub text: String,
    line_starts: Vec<u32>,
}

/// The files a configuration was read from, the main one first.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Takes in one more file.
    pub(crate) fn add(&mut self, name: String, folder: PathBuf, text: String) -> FileId {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(breaks.map(|(at, _)| at as u32 + 1)).collect();
        let id = FileId(u16::try_from(self.0.len()).unwrap_or(u16::MAX));
        self.0.push(Source { name, folder, text, line_starts });
        id
    }

    /// All files, the main one first.
    pub fn files(&self) -> &[Source] {
        &self.0
    }

    /// The file of this id.
    pub fn file(&self, id: FileId) -> &Source {
        &self.0[usize::from(id.0)]
    }

    /// The line and column where a place starts.
    pub fn line_column(&self, place: Place) -> LineColumn {
        self.file(place.file).line_column(place.start)
    }

    /// A place as `file:line:column`.
    pub fn show(&self, place: Place) -> String {
        let LineColumn { line, column } = self.line_column(place);
        format!("{}:{line}:{column}", self.file(place.file).name)
    }

    /// A path as the file at `place` means it.
    pub(crate) fn resolve(&self, place: Place, path: &str) -> PathBuf {
        let folder = &self.file(place.file).folder;
        if folder.as_os_str().is_empty() || folder == Path::new(".") {
            return PathBuf::from(path);
        }
        folder.join(path)
    }
}

impl Source {
    /// The line and column of a byte.
    pub fn line_column(&self, at: u32) -> LineColumn {
        let line = self.line_starts.partition_point(|start| *start <= at).max(1);
        let start = self.line_starts[line - 1] as usize;
        let end = (at as usize).min(self.text.len()).max(start);
        let column = String::from_utf8_lossy(&self.text.as_bytes()[start..end]).chars().count();
        LineColumn { line: line as u32, column: column as u32 + 1 }
    }

    /// The text of a line, counted from 1, without its line break.
    pub fn line(&self, line: u32) -> &str {
        let at = line as usize - 1;
        let start = self.line_starts[at] as usize;
        let end = self.line_starts.get(at + 1).map_or(self.text.len(), |next| *next as usize);
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }

    /// The bytes of the line that holds a byte, its line break included; never empty.
    pub(crate) fn line_range(&self, at: u32) -> std::ops::Range<u32> {
        let line = self.line_starts.partition_point(|start| *start <= at).max(1);
        let start = self.line_starts[line - 1];
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len() as u32 + 1);
        start..end
    }

    /// The bytes of a range, or nothing where it is not one of this text's.
    pub fn slice(&self, start: u32, end: u32) -> &str {
        self.text.get(start as usize..end as usize).unwrap_or("")
    }
}
