//! Ed25519 keys: a secret one to sign with, in a PEM file as OpenSSL writes it, and a public one for the firmware, as 32 bytes.

use crate::limits;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signer, SigningKey};
use kinglet::slots::key_id;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A file of this name is there already.
    #[error("{} exists: a key is never overwritten; move it away, or give another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("cannot read the key {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write the key {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    /// The file holds no secret key.
    #[error("{} holds no secret Ed25519 key in PEM: `kinglet keygen` makes one", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
}

/// What firmware has to know, to tell our images from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Its name in images, as digits.
    pub fn id(&self) -> String {
        hex(&key_id(&self.0))
    }
}

/// Digits of bytes.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What images are signed with. It is wiped from memory when it is dropped.
pub struct SecretKey(SigningKey);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}

impl SecretKey {
    /// A new key.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| KeyError::Random(error.to_string()))?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a seed, for tests.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        SecretKey(SigningKey::from_bytes(seed))
    }

    /// The key in a file.
    ///
    /// # Errors
    /// It cannot be read, or holds no key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text =
            limits::read_text(path, limits::TEXT_BYTES).map_err(|source| match source.kind() {
                io::ErrorKind::InvalidData => KeyError::NotAKey { path: path.into() },
                _ => KeyError::Read {
                    path: path.into(),
                    source,
                },
            })?;
        let key = SigningKey::from_pkcs8_pem(&text);
        key.map(SecretKey)
            .map_err(|_| KeyError::NotAKey { path: path.into() })
    }

    /// Writes the secret key to `path`, for its owner only, and the public one beside it with `.pub` at its name; that name.
    ///
    /// # Errors
    /// A file is there already, or cannot be written. Neither is then left behind.
    pub fn write(&self, path: &Path) -> Result<PathBuf, KeyError> {
        let mut public: OsString = path.into();
        public.push(".pub");
        let public = PathBuf::from(public);
        for path in [path, &public] {
            if path.symlink_metadata().is_ok() {
                return Err(KeyError::Exists { path: path.into() });
            }
        }
        let failed = |source: io::Error| KeyError::Write {
            path: path.into(),
            source,
        };
        let text = self.0.to_pkcs8_pem(LineEnding::LF);
        let text = text.map_err(|error| failed(io::Error::other(error.to_string())))?;
        create(path, text.as_bytes(), 0o600)?;
        create(&public, &self.public().0, 0o644).inspect_err(|_| {
            // The pair is whole or absent; the error that matters is the first one.
            let _ = fs::remove_file(path);
        })?;
        Ok(public)
    }

    /// The key that goes with it.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The signature of a message.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// Makes a file with these contents and permissions, whole or not at all, and never in the place of another.
fn create(path: &Path, contents: &[u8], mode: u32) -> Result<(), KeyError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.into() },
        _ => KeyError::Write {
            path: path.into(),
            source,
        },
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    let permissions: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    #[cfg(unix)]
    builder.permissions(permissions);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(contents).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let kept = file.persist_noclobber(path);
    kept.map(drop).map_err(|error| failed(error.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_written_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.key");
        let key = SecretKey::generate().unwrap();
        let public = key.write(&path).unwrap();
        assert_eq!(public, folder.path().join("model.key.pub"));
        assert_eq!(fs::read(&public).unwrap(), key.public().0);
        assert_eq!(SecretKey::read(&path).unwrap().public(), key.public());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o600);
        }
        let again = SecretKey::generate().unwrap();
        assert!(matches!(again.write(&path), Err(KeyError::Exists { .. })));
        fs::remove_file(&path).unwrap();
        // The public one alone is in the way, too.
        assert!(matches!(again.write(&path), Err(KeyError::Exists { .. })));
        assert!(!path.exists());
        assert!(matches!(
            SecretKey::read(&public),
            Err(KeyError::NotAKey { .. })
        ));
        assert_ne!(again.public(), key.public());
    }
}
