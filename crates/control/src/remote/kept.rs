//! The configuration of a registry on disk, for a start while the registry is away: the newest that
//! was found right. A file that is wrong or cannot be written is said, and stops nothing.

use crate::whole_file;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// What such a file begins with; another number is another form.
const FORM: &str = "gatehouse configuration 1";

/// Its name in its folder.
const NAME: &str = "last-good";

/// The largest file: a text, and what stands before it.
const FILE_BYTES_MAX: u64 = super::TEXT_BYTES_MAX as u64 + 64 * 1024;

/// Where the configuration of one process is kept.
#[derive(Debug)]
pub(super) struct Kept {
    folder: PathBuf,
    /// What stands there, where it is known.
    written: Mutex<Option<String>>,
}

impl Kept {
    pub fn new(folder: PathBuf) -> Kept {
        Kept { folder, written: Mutex::default() }
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Keeps this one, in the place of what was kept before.
    pub fn put(&self, source: &str, text: &str) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = whole(source, text);
        if written.as_ref() == Some(&whole) {
            return;
        }
        let put = whole_file::make_folder(&self.folder)
            .and_then(|()| whole_file::write(&self.folder, NAME, &whole));
        match put {
            Ok(()) => *written = Some(whole),
            Err(error) => eprintln!(
                "warn: {}: {error}; the configuration is not kept for a start while its registry \
                 is away",
                self.path().display()
            ),
        }
    }

    /// What is kept, where it is of this source.
    pub fn get(&self, source: &str) -> Option<String> {
        let path = self.path();
        let text = match whole_file::read(&path, FILE_BYTES_MAX) {
            Ok(whole) => text_of(&whole, source).map(|text| text.map(str::to_owned)),
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => Err(error.to_string()),
        };
        text.unwrap_or_else(|why| {
            eprintln!(
                "warn: {}: {why}; the last good configuration is not known: delete the file, it is \
                 written again once the registry answers",
                path.display()
            );
            None
        })
    }
}

/// What is written.
fn whole(source: &str, text: &str) -> String {
    format!("{FORM}\nsource {}\nbytes {}\n{text}", source.escape_debug(), text.len())
}

/// The text in it; none where it is of another source.
///
/// # Errors
/// What is wrong with it.
fn text_of<'a>(whole: &'a str, source: &str) -> Result<Option<&'a str>, String> {
    let mut rest = whole;
    let mut line = || {
        let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = behind;
        line
    };
    if line() != FORM {
        return Err(format!("it does not begin with \"{FORM}\""));
    }
    let of = line().strip_prefix("source ").ok_or("it does not say its source")?;
    let bytes = line().strip_prefix("bytes ").and_then(|count| count.parse().ok());
    let bytes: usize = bytes.ok_or("it does not say its bytes")?;
    if of != source.escape_debug().to_string() {
        return Ok(None);
    }
    if rest.len() != bytes {
        return Err(format!("it has {} bytes of {bytes}", rest.len()));
    }
    Ok(Some(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_for_its_own_source_only() {
        for text in ["", "[listeners]\n", "a = \"\u{e9}\"\n\nb = 1"] {
            let whole = whole("etcd://b/k\n", text);
            assert_eq!(text_of(&whole, "etcd://b/k\n"), Ok(Some(text)));
            assert_eq!(text_of(&whole, "etcd://b/other"), Ok(None));
        }
    }

    #[test]
    fn a_file_that_is_cut_or_of_another_kind_is_said() {
        let good = whole("etcd://b/k", "a = 1\n");
        for (whole, said) in [
            (good.replace("ation 1", "ation 2"), "does not begin with"),
            (good.trim_end().to_owned(), "it has 5 bytes of 6"),
            (good.clone() + "b", "it has 7 bytes of 6"),
            (good.replace("bytes 6", "bytes x"), "its bytes"),
            (good.replace("source ", "from "), "its source"),
        ] {
            let why = text_of(&whole, "etcd://b/k").expect_err(&whole);
            assert!(why.contains(said), "{why}");
        }
    }
}
