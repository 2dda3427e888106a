//! Outputs that are whole or absent, and folders that one run at a time works in.
//!
//! Both rest on locks of the operating system, which go with the process however it ends: a temporary file whose lock is
//! free is left over, and a folder whose lock is free is nobody's.

use super::FileError;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::NamedTempFile;

const PREFIX: &str = ".kinglet-";
const SUFFIX: &str = ".tmp";
/// Name of a folder's lock in it. It stays there.
const LOCK: &str = ".kinglet-lock";

/// Writes a file so that it is whole or absent: to a temporary file beside it, synchronised, then renamed.
///
/// An existing file is replaced at once; a link is followed; pipes and devices are written directly. Temporary files that
/// processes before this one left in the folder because they were killed are removed.
///
/// # Errors
/// [`FileError::Write`]; what was there before is there still.
pub fn write_atomic(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> Result<(), FileError> {
    let path = path.as_ref();
    replace(path, write).map_err(|source| FileError::Write {
        path: path.into(),
        source,
    })
}

fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<()> {
    let fill = |file: &mut File| {
        let mut buffered = BufWriter::new(file);
        write(&mut buffered)?;
        buffered.flush()
    };
    let target = match fs::metadata(path) {
        Ok(m) if m.is_dir() => return Err(io::Error::other("it is a folder")),
        // A device or pipe must not be replaced by a regular file.
        Ok(m) if !m.is_file() => return fill(&mut File::options().write(true).open(path)?),
        Ok(_) => fs::canonicalize(path)?,
        Err(_) => path.to_path_buf(),
    };
    let folder = match target.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    sweep(folder);
    let mut temporary = temporary(folder)?;
    fill(temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    temporary.persist(&target).map_err(|e| e.error)?;
    Ok(())
}

/// A file that is locked as long as this process has it open.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    loop {
        let mut builder = tempfile::Builder::new();
        // Temporary files are private by default; an output has the permissions of any new file.
        #[cfg(unix)]
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        #[cfg(unix)]
        builder.permissions(permissions);
        let file = builder.prefix(PREFIX).suffix(SUFFIX).tempfile_in(folder)?;
        // Where there are no locks, nobody takes the file for left over either.
        let _unsupported = file.as_file().lock();
        // Another process may have taken it for left over before it was locked.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes temporary files of processes that are no more; once a folder, since its own are removed anyway.
fn sweep(folder: &Path) {
    static SWEPT: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);
    let Ok(folder) = fs::canonicalize(folder) else {
        return;
    };
    let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if !swept.get_or_insert_default().insert(folder.clone()) {
        return;
    }
    let is_ours = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with(PREFIX) && name.ends_with(SUFFIX)
    };
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    for entry in entries.filter(|e| is_ours(&e.file_name())) {
        let path = entry.path();
        if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            // What cannot be removed is in nobody's way.
            let _still_there = fs::remove_file(&path);
        }
    }
}

/// A folder that no other process claims as long as this value lives, or its process.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

impl Claim {
    /// Claims a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`FileError::Claimed`] where another process has it; [`FileError::Write`] where it cannot be made.
    pub fn on(folder: &Path) -> Result<Claim, FileError> {
        let write = |source| FileError::Write {
            path: folder.into(),
            source,
        };
        fs::create_dir_all(folder).map_err(write)?;
        let path = folder.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| FileError::Write { path, source })?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(FileError::Claimed {
                folder: folder.into(),
            }),
            // A file system without locks cannot tell.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Claim { _lock: lock }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_claimed_once_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run");
        let claim = Claim::on(&path).expect("free");
        let error = Claim::on(&path).expect_err("claimed");
        assert!(matches!(error, FileError::Claimed { .. }), "{error}");
        drop(claim);
        Claim::on(&path).expect("free again");
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_another_writes_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let stray = folder.path().join(".kinglet-1.tmp");
        let held = folder.path().join(".kinglet-2.tmp");
        fs::write(&stray, b"half").expect("written");
        let other = File::create(&held).expect("made");
        other.lock().expect("locked");
        write_atomic(folder.path().join("out"), |f| f.write_all(b"new")).expect("written");
        assert!(!stray.exists() && held.exists());
    }
}
