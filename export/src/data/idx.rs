//! MNIST's form: `idx3` images and `idx1` labels, plain or gzip.

use super::{DataError, Dataset, Elements, Split, list};
use crate::limits;
use std::path::{Path, PathBuf};

/// Image and label files of the training set, and of the test set if there is one.
pub(super) struct Files {
    train: [PathBuf; 2],
    test: Option<[PathBuf; 2]>,
}

/// The files of a folder, if it holds any.
pub(super) fn find(path: &Path) -> Result<Option<Files>, DataError> {
    let files = list(path)?;
    let named = |prefixes: &[&str]| -> Option<[PathBuf; 2]> {
        let one = |what: &str| {
            let matches = |p: &&PathBuf| {
                let name = p.file_name().and_then(|n| n.to_str()).unwrap_or_default();
                prefixes.iter().any(|prefix| {
                    name.strip_prefix(prefix)
                        .is_some_and(|rest| rest.trim_start_matches('-').starts_with(what))
                })
            };
            files.iter().find(matches).cloned()
        };
        Some([one("images-idx3-ubyte")?, one("labels-idx1-ubyte")?])
    };
    let train = named(&["train", ""]);
    Ok(train.map(|train| Files {
        train,
        test: named(&["t10k", "test"]),
    }))
}

pub(super) fn read(path: &Path, name: String, files: &Files) -> Result<Dataset, DataError> {
    let (side, train) = split(&files.train)?;
    let test = match &files.test {
        Some(files) => {
            let (test_side, test) = split(files)?;
            if test_side != side {
                return Err(DataError::Malformed {
                    path: files[0].clone(),
                    reason: format!("images of {test_side:?}, the training set's are {side:?}"),
                });
            }
            Some(test)
        }
        None => None,
    };
    Dataset::new(path, name, vec![1, side[0], side[1]], train, test)
}

fn split([images, labels]: &[PathBuf; 2]) -> Result<([usize; 2], Split), DataError> {
    let (dims, elements) = array(images, 3)?;
    let (_, labels) = array(labels, 1)?;
    let split = Split {
        elements: Elements::U8(elements),
        labels: labels.into_iter().map(u16::from).collect(),
    };
    Ok(([dims[1], dims[2]], split))
}

/// An array of unsigned bytes with this many dimensions.
fn array(path: &Path, rank: usize) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let packed = path.extension().is_some_and(|e| e == "gz");
    decode(super::read(path)?, packed, rank).map_err(|reason| DataError::Malformed {
        path: path.into(),
        reason,
    })
}

/// Dimensions and elements of the bytes of a file, perhaps gzip.
pub(super) fn decode(
    mut bytes: Vec<u8>,
    packed: bool,
    rank: usize,
) -> Result<(Vec<usize>, Vec<u8>), String> {
    if packed {
        let plain = flate2::read::GzDecoder::new(bytes.as_slice());
        bytes = limits::unpack(plain, "the file", limits::DATA_BYTES)
            .map_err(|e| format!("not a gzip file: {e}"))?;
    }
    let header = 4 + 4 * rank;
    if bytes.len() < header || bytes[..4] != [0, 0, 8, rank as u8] {
        return Err(format!("not an idx file of bytes with {rank} dimensions"));
    }
    let dims: Vec<usize> = bytes[4..header]
        .as_chunks()
        .0
        .iter()
        .map(|&d| u32::from_be_bytes(d) as usize)
        .collect();
    let data = bytes.split_off(header);
    let promised = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if promised != Some(data.len()) {
        return Err(format!(
            "the header promises {dims:?} elements, the file holds {}",
            data.len()
        ));
    }
    Ok((dims, data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(dims: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    #[test]
    fn plain_and_compressed_files_are_read_and_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).expect("written");
        };
        write("train-images-idx3-ubyte", &file(&[2, 2, 1], &[1, 2, 3, 4]));
        write("train-labels-idx1-ubyte", &file(&[2], &[0, 1]));
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&file(&[1, 2, 1], &[5, 6]))
            .expect("compressed");
        write(
            "t10k-images-idx3-ubyte.gz",
            &gz.finish().expect("compressed"),
        );
        write("t10k-labels-idx1-ubyte", &file(&[1], &[1]));
        let data = super::super::open(folder.path()).expect("a dataset");
        assert_eq!(data.shape, [1, 2, 1]);
        assert_eq!((data.train.len(), data.test.len(), data.classes), (2, 1, 2));
        assert_eq!(data.test.elements, Elements::U8(vec![5, 6]));
        write("t10k-labels-idx1-ubyte", &file(&[7], &[1]));
        let error = super::super::open(folder.path())
            .err()
            .map(|e| e.to_string());
        assert!(error.is_some_and(|e| e.contains("promises")));
    }
}
