//! What an operator keeps secret: written down, or in a file of its own. It is never shown.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

/// The largest file of a secret.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A password, a token. Shown as `***`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Secret {
    /// It is written in the configuration.
    Text(Box<str>),
    /// It stands in this file, which may be replaced while the gateway runs.
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Text(_) => f.write_str("***"),
            Secret::File(path) => write!(f, "*** of {}", path.display()),
        }
    }
}

impl Secret {
    /// The secret itself, as it is now; of a file, without the line break at its end.
    ///
    /// # Errors
    /// Why there is none, with the file's name.
    pub fn reveal(&self) -> Result<String, String> {
        let path = match self {
            Secret::Text(text) => return Ok(text.to_string()),
            Secret::File(path) => path,
        };
        let said = |why: &dyn fmt::Display| format!("{}: {why}", path.display());
        let mut text = String::new();
        let file = File::open(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => said(&"there is no such file, which is to hold a secret"),
            _ => said(&error),
        })?;
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| said(&error))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(said(&"it is too large for a secret"));
        }
        text.truncate(text.trim_end_matches(['\n', '\r']).len());
        // One that could go on in a field of its own is none.
        match text.contains(|c: char| c.is_control()) || text.is_empty() {
            true => Err(said(&"it holds no secret: one line of text")),
            false => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let shown = format!("{:?}", Secret::Text("hunter2".into()));
        assert_eq!(shown, "***");
        assert_eq!(format!("{:?}", Secret::File("a/b".into())), "*** of a/b");
    }

    #[test]
    fn a_secret_in_a_file_is_read_when_it_is_asked_for() {
        let name = format!("gatehouse-secret-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let secret = Secret::File(path.clone());
        let revealed = |text: &str| {
            std::fs::write(&path, text).expect("written");
            secret.reveal()
        };
        assert_eq!(revealed("hunter2\n"), Ok("hunter2".to_owned()));
        assert_eq!(revealed("hunter3\r\n"), Ok("hunter3".to_owned()));
        assert!(revealed("\n").is_err());
        assert!(revealed("a\nb\n").is_err());
        assert!(revealed(&"a".repeat(70_000)).is_err());
        std::fs::remove_file(&path).expect("it is there");
        let why = secret.reveal().expect_err("it is gone");
        let said = "there is no such file, which is to hold a secret";
        assert_eq!(why, format!("{}: {said}", path.display()));
    }
}
