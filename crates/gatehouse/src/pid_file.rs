//! The file that says which process serves: written once it does, by whoever took over last, and
//! removed by that one.

use std::io;
use std::path::{Path, PathBuf};

/// A file with this process's id in it, until it is dropped.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it in one piece, over one that is there.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn write(path: &Path) -> io::Result<PidFile> {
        let mut next = path.as_os_str().to_owned();
        next.push(format!(".{}", std::process::id()));
        std::fs::write(&next, format!("{}\n", std::process::id()))?;
        std::fs::rename(&next, path).inspect_err(|_| drop(std::fs::remove_file(&next)))?;
        Ok(PidFile(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let own = std::process::id().to_string();
        // It may be a successor's by now.
        if std::fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == own) {
            drop(std::fs::remove_file(&self.0));
        }
    }
}
