//! How large what is read from files may be: one place for all readers, so that no file takes unbounded memory or time.
//!
//! Sizes that a file claims are compared with these numbers, or with the bytes that are there, before anything is allocated.
//! `docs/trust.md` lists them; a test keeps the two the same.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Something in a file is larger than its reader allows.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what} has {found} {unit}, the limit is {limit}")]
pub struct LimitError {
    /// What is too large: the file, a tensor, a node's result.
    pub what: String,
    /// How large it is, or at least is; `u64::MAX` stands for all larger numbers.
    pub found: u64,
    /// Of what it has too many.
    pub unit: &'static str,
    /// How many there may be.
    pub limit: u64,
}

/// Refuses `found` of something where there are more than `limit`.
pub(crate) fn at_most(
    what: impl FnOnce() -> String,
    found: u64,
    unit: &'static str,
    limit: u64,
) -> Result<(), LimitError> {
    if found <= limit {
        return Ok(());
    }
    Err(LimitError {
        what: what(),
        found,
        unit,
        limit,
    })
}

/// The product of dimensions; `u64::MAX` where it does not fit.
pub(crate) fn elements(shape: &[usize]) -> u64 {
    shape
        .iter()
        .fold(1, |n: u64, &d| n.saturating_mul(d as u64))
}

/// What an ONNX model may ask for. The defaults are far beyond what microcontrollers and phones run.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of memory that the decoded message takes, about: records of a few bytes in a file become larger structures.
    pub decoded_bytes: u64,
    /// Messages within messages. A tensor of a node of the main graph is the fifth.
    pub nesting: u64,
    /// Nodes of all graphs in the file.
    pub nodes: u64,
    /// Dimensions of a tensor.
    pub rank: u64,
    /// Elements of one tensor: stored, computed when the model is read, or computed by an inference.
    pub elements: u64,
    /// Elements of all tensors together.
    pub total_elements: u64,
    /// Multiply-accumulates of an inference, which compiling runs once for the self-test.
    pub macs: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file_bytes: 1 << 30,
            decoded_bytes: 2 << 30,
            nesting: 32,
            nodes: 20_000,
            rank: 32,
            elements: 1 << 27,
            total_elements: 1 << 29,
            macs: 1 << 40,
        }
    }
}

/// Elements of a constant that tract computes while a model is read; larger ones stay nodes.
pub const FOLDED_ELEMENTS: u64 = 1 << 22;
/// Bytes of a `.kinglet` plan file.
pub const PLAN_BYTES: u64 = 1 << 30;
/// Bytes of a `.npy` or `.npz` file, and of an array that is unpacked from an archive.
pub const ARRAY_BYTES: u64 = 2 << 30;
/// Arrays of one `.npz` file.
pub const ARCHIVE_MEMBERS: u64 = 10_000;
/// Bytes of a dataset's file, and of a `.gz` file unpacked.
pub const DATA_BYTES: u64 = 2 << 30;
/// Pixels of one image.
pub const PICTURE_PIXELS: u64 = 1 << 26;
/// Bytes of a recipe, a key, a manifest.
pub const TEXT_BYTES: u64 = 1 << 20;
/// Bytes of a checkpoint, and of the record of a compression.
pub const CHECKPOINT_BYTES: u64 = 4 << 30;
/// Bytes of an image for a slot, as hosts read it. A device has its slot's size besides.
pub const IMAGE_BYTES: u64 = 256 << 20;

/// Reads a file of at most `limit` bytes. Pipes and devices that never end are read up to the limit only.
///
/// # Errors
/// It cannot be read, or is larger; then the error's source is a [`LimitError`].
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let expected = if metadata.is_file() {
        metadata.len()
    } else {
        0
    };
    let fits = |found: u64| {
        let error = at_most(|| "the file".to_owned(), found, "bytes", limit);
        error.map_err(|e| io::Error::new(io::ErrorKind::FileTooLarge, e))
    };
    fits(expected)?;
    read_to_end(file, expected, limit).and_then(|contents| {
        fits(contents.len() as u64)?;
        Ok(contents)
    })
}

/// As [`read`], for text.
///
/// # Errors
/// See [`read`]; or it is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let bytes = read(path, limit)?;
    String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Everything a decompressor makes, if that is at most `limit` bytes.
///
/// # Errors
/// It fails, or makes more; then the error's source is a [`LimitError`].
pub(crate) fn unpack(packed: impl Read, what: &str, limit: u64) -> io::Result<Vec<u8>> {
    let contents = read_to_end(packed, 0, limit)?;
    at_most(
        || format!("{what}, unpacked,"),
        contents.len() as u64,
        "bytes or more",
        limit,
    )
    .map_err(|e| io::Error::new(io::ErrorKind::FileTooLarge, e))?;
    Ok(contents)
}

/// At most one byte more than the limit, which says that there is more.
fn read_to_end(from: impl Read, expected: u64, limit: u64) -> io::Result<Vec<u8>> {
    let mut contents = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    from.take(limit.saturating_add(1))
        .read_to_end(&mut contents)?;
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_says_by_how_much() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 12]).expect("written");
        assert_eq!(read(&path, 12).expect("fits"), [7; 12]);
        let error = read(&path, 11).expect_err("too large");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let text = error.to_string();
        assert!(text.contains("12 bytes") && text.contains("11"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_without_an_end_is_refused() {
        let error = read(Path::new("/dev/zero"), 1000).expect_err("endless");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_unpacks_to_more_than_the_limit_is_refused_early() {
        let error = unpack(io::repeat(0), "x", 5000).expect_err("endless");
        assert!(error.to_string().contains("x, unpacked, has 5001 bytes"));
    }

    #[test]
    fn products_saturate() {
        assert_eq!(elements(&[3, 4]), 12);
        assert_eq!(elements(&[]), 1);
        assert_eq!(elements(&[usize::MAX, 2, usize::MAX]), u64::MAX);
    }
}
