//! Where accounts and certificates are kept. Keys are there for nobody but the gateway: folders
//! are made with 0700 and files with 0600, and a file is put in place as a whole.

use super::certify;
use super::jose::AccountKey;
use crate::whole_file;
use rcgen::KeyPair;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The folder of one authority: a storage serves several.
pub(crate) fn folder(storage: &Path, directory: &str) -> PathBuf {
    let plain = directory.strip_prefix("https://").unwrap_or(directory);
    let plain = plain.trim_end_matches('/');
    let safe = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    let name: String = plain.chars().map(safe).collect();
    storage.join(name.trim_start_matches('.'))
}

/// Where the certificate of a name stands, with its chain and its key.
pub(crate) fn certificate(storage: &Path, directory: &str, name: &str) -> PathBuf {
    folder(storage, directory).join(format!("{name}.pem"))
}

/// The folder of one authority, and nobody else's turn in it: two processes beside each other,
/// as in an upgrade, do not ask for the same.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens it, and makes it where it is not there.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::WouldBlock`] where it is another's turn.
    pub fn open(folder: PathBuf) -> io::Result<Store> {
        whole_file::make_folder(&folder)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Store { folder, _lock: lock })
    }

    /// The key of the account, made where there is none.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::InvalidData`] where what stands there is no such key.
    pub fn account_key(&self) -> io::Result<AccountKey> {
        let path = self.folder.join("account.key");
        let pem = match read(&path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pem = certify::key().map_err(io::Error::other)?;
                self.write("account.key", &pem)?;
                pem
            }
            Err(error) => return Err(error),
        };
        let key = KeyPair::from_pem(&pem).ok();
        key.and_then(|key| AccountKey::from_pkcs8(&key.serialize_der())).ok_or_else(|| {
            let text = format!("{} holds no key of ECDSA P-256 in PEM", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })
    }

    /// Puts a file in place: all of it, or nothing.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        whole_file::write(&self.folder, name, text)
    }
}

/// Reads a file that is not too large.
///
/// # Errors
/// What the kernel says.
pub(super) fn read(path: &Path) -> io::Result<String> {
    whole_file::read(path, FILE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_authority_has_a_folder_of_its_own() {
        let of = |url| folder(Path::new("/var/acme"), url).display().to_string();
        assert_eq!(of("https://ca.test/directory"), "/var/acme/ca.test-directory");
        assert_eq!(of("https://ca.test:14000/dir/"), "/var/acme/ca.test-14000-dir");
        assert_eq!(of("https://../../etc"), "/var/acme/-..-etc");
    }

    #[test]
    fn keys_are_for_nobody_else_and_one_process_has_its_turn() {
        let name = format!("gatehouse-acme-storage-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let own = folder.join("storage/ca.test");
        let store = Store::open(own.clone()).expect("a store");
        let first = store.account_key().expect("a key").authorization("t");
        assert_eq!(store.account_key().expect("the same key").authorization("t"), first);
        let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
        for path in [&folder, &folder.join("storage"), &own] {
            assert_eq!(mode(path), 0o700, "{}", path.display());
        }
        assert_eq!(mode(&own.join("account.key")), 0o600);
        let second = Store::open(own.clone()).map(drop);
        assert_eq!(second.map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
        drop(store);
        let store = Store::open(own.clone()).expect("its turn");
        std::fs::write(own.join("a.test.pem.new"), "left behind").expect("it is written");
        store.write("a.test.pem", "whole").expect("it is written");
        assert_eq!(read(&own.join("a.test.pem")).expect("it is there"), "whole");
        assert_eq!(mode(&own.join("a.test.pem")), 0o600);
        std::fs::write(own.join("account.key"), "no key").expect("it is written");
        let other = store.account_key().map(drop).map_err(|error| error.kind());
        assert_eq!(other, Err(io::ErrorKind::InvalidData));
        drop(std::fs::remove_dir_all(folder));
    }
}
