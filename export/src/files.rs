//! Files in and out: `.npy`/`.npz` tensors, and outputs that are either whole or absent.

use crate::graph::{DType, Data};
use crate::limits::{self, at_most};
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use ndarray_npy::{ReadNpyExt, ReadableElement, WritableElement, WriteNpyExt};
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

mod atomic;

pub use atomic::{Claim, write_atomic};

/// Contents of a `.npy` file, row-major.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Elements.
    pub data: Data,
}

impl Tensor {
    /// A single-precision tensor.
    pub fn f32(shape: Vec<usize>, data: Vec<f32>) -> Self {
        Tensor {
            shape,
            data: Data::F32(data),
        }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be created or written; nothing was left behind.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Neither `.npy` nor `.npz`.
    #[error("{}: tensors are read from .npy and .npz files and written to .npy files", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// Not a well-formed array file.
    #[error("{}: not a valid array file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is shorter or longer than its header says.
    #[error("{}: the header promises {expected} bytes of data, the file holds {found}: it is truncated or damaged", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes of data by the header.
        expected: usize,
        /// Bytes of data present.
        found: usize,
    },
    /// An element type Kinglet has no use for.
    #[error("{}: element type {dtype} is not supported; save the array as float32, float64, int8, uint8, int32 or int64", path.display())]
    DType {
        /// The file.
        path: PathBuf,
        /// numpy's name of the type.
        dtype: String,
    },
    /// An archive without a name where one is needed, or without the array that was named.
    #[error("{}: {problem}; write {}:NAME, where NAME is one of: {}", path.display(), path.display(), names.join(", "))]
    Member {
        /// The archive.
        path: PathBuf,
        /// What was asked for in vain.
        problem: String,
        /// Arrays in the archive.
        names: Vec<String>,
    },
    /// Another process works in the folder.
    #[error("another run of kinglet works in {}; wait for its end, or give this one another folder", folder.display())]
    Claimed {
        /// The folder.
        folder: PathBuf,
    },
    /// The shape does not have as many elements as the data.
    #[error("cannot write {}: shape {shape:?} does not hold {len} elements", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The shape.
        shape: Vec<usize>,
        /// The number of elements.
        len: usize,
    },
}

/// Reads a tensor from `FILE.npy`, from `FILE.npz` with exactly one array, or from `FILE.npz:NAME`.
///
/// float64 is rounded to float32; Fortran order and big-endian files are converted.
pub fn read_tensor(path: impl AsRef<Path>) -> Result<Tensor, FileError> {
    let (path, member) = split_member(path.as_ref());
    let read = |source| FileError::Read {
        path: path.clone(),
        source,
    };
    let extension = path.extension().and_then(|e| e.to_str());
    if !matches!(extension, Some("npy" | "npz")) {
        return Err(FileError::Extension { path });
    }
    let bytes = limits::read(&path, limits::ARRAY_BYTES).map_err(read)?;
    decode_tensor(&bytes, &path, member.as_deref())
}

/// [`read_tensor`] of bytes that are in memory, `.npy` or `.npz` by the name in `path`, which errors name.
///
/// # Errors
/// They are no array, or an archive without the one that is asked for; see [`crate::limits`] for how large it may be.
pub fn decode_tensor(bytes: &[u8], path: &Path, member: Option<&str>) -> Result<Tensor, FileError> {
    match path.extension().is_some_and(|e| e == "npz") {
        true => parse_npy(path, &read_member(path, bytes, member)?),
        false => parse_npy(path, bytes),
    }
}

/// Reads all arrays of `FILE.npz`, with their names.
pub fn read_archive(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>, FileError> {
    let path = path.as_ref();
    let read = limits::read(path, limits::ARRAY_BYTES);
    let bytes = read.map_err(|source| FileError::Read {
        path: path.into(),
        source,
    })?;
    let names = members(path, &bytes)?;
    let tensors = names.into_iter().map(|name| {
        let tensor = parse_npy(path, &read_member(path, &bytes, Some(&name))?)?;
        Ok((name, tensor))
    });
    tensors.collect()
}

/// Writes a `.npy` file, whole or not at all.
pub fn write_tensor(path: impl AsRef<Path>, tensor: &Tensor) -> Result<(), FileError> {
    let path = path.as_ref();
    if path.extension().and_then(|e| e.to_str()) != Some("npy") {
        return Err(FileError::Extension { path: path.into() });
    }
    let shape = &tensor.shape;
    match &tensor.data {
        Data::F32(v) => write_elements(path, shape, v),
        Data::I8(v) => write_elements(path, shape, v),
        Data::U8(v) => write_elements(path, shape, v),
        Data::I32(v) => write_elements(path, shape, v),
        Data::I64(v) => write_elements(path, shape, v),
    }
}

/// Index of the first NaN or infinity.
pub fn first_non_finite(values: &[f32]) -> Option<usize> {
    values.iter().position(|v| !v.is_finite())
}

fn write_elements<T: WritableElement>(
    path: &Path,
    shape: &[usize],
    values: &[T],
) -> Result<(), FileError> {
    let view = ArrayViewD::from_shape(IxDyn(shape), values).map_err(|_| FileError::Shape {
        path: path.into(),
        shape: shape.to_vec(),
        len: values.len(),
    })?;
    write_atomic(path, |file| view.write_npy(file).map_err(io::Error::other))
}

/// Splits `archive.npz:name`, unless a file of that very name exists.
fn split_member(path: &Path) -> (PathBuf, Option<String>) {
    if let Some(text) = path.to_str()
        && !path.exists()
        && let Some((archive, name)) = text.rsplit_once(".npz:")
    {
        return (
            PathBuf::from(format!("{archive}.npz")),
            Some(name.to_owned()),
        );
    }
    (path.to_path_buf(), None)
}

/// Names of the arrays in an archive.
fn members(path: &Path, bytes: &[u8]) -> Result<Vec<String>, FileError> {
    let malformed = |e: zip::result::ZipError| FileError::Malformed {
        path: path.into(),
        reason: e.to_string(),
    };
    let archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(malformed)?;
    let what = || "the archive".to_owned();
    at_most(
        what,
        archive.len() as u64,
        "arrays",
        limits::ARCHIVE_MEMBERS,
    )
    .map_err(|e| FileError::Malformed {
        path: path.into(),
        reason: e.to_string(),
    })?;
    Ok(archive
        .file_names()
        .map(|n| n.strip_suffix(".npy").unwrap_or(n).to_owned())
        .collect())
}

/// The bytes of one `.npy` member of an archive.
fn read_member(path: &Path, bytes: &[u8], member: Option<&str>) -> Result<Vec<u8>, FileError> {
    let malformed = |reason: String| FileError::Malformed {
        path: path.into(),
        reason,
    };
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| malformed(e.to_string()))?;
    let names = members(path, bytes)?;
    let index = match member {
        Some(name) => names
            .iter()
            .position(|n| n == name)
            .ok_or_else(|| FileError::Member {
                path: path.into(),
                problem: format!("there is no array {name:?}"),
                names: names.clone(),
            })?,
        None if names.len() == 1 => 0,
        None if names.is_empty() => return Err(malformed("the archive is empty".into())),
        None => {
            let problem = format!("the archive holds {} arrays", names.len());
            return Err(FileError::Member {
                path: path.into(),
                problem,
                names,
            });
        }
    };
    let file = archive
        .by_index(index)
        .map_err(|e| malformed(e.to_string()))?;
    limits::unpack(file, "the array", limits::ARRAY_BYTES).map_err(|e| malformed(e.to_string()))
}

fn parse_npy(path: &Path, bytes: &[u8]) -> Result<Tensor, FileError> {
    let malformed = |reason: String| FileError::Malformed {
        path: path.into(),
        reason,
    };
    let header = Header::parse(bytes).map_err(malformed)?;
    let unsupported = || FileError::DType {
        path: path.into(),
        dtype: header.descr.clone(),
    };
    let size: usize = match header.descr.trim_start_matches(['<', '>', '|', '=']) {
        "f4" | "i4" => 4,
        "f8" | "i8" => 8,
        "i1" | "u1" => 1,
        _ => return Err(unsupported()),
    };
    // Checked before anything is allocated: the header may promise more than there is memory.
    // Zero-sized dimensions are left out so that the product also bounds every stride.
    let bound = header
        .shape
        .iter()
        .filter(|&&d| d != 0)
        .try_fold(size, |n, &d| n.checked_mul(d));
    let Some(bound) = bound.filter(|&n| isize::try_from(n).is_ok()) else {
        return Err(malformed(format!("shape {:?} is too large", header.shape)));
    };
    let expected = if header.shape.contains(&0) { 0 } else { bound };
    let found = bytes.len() - header.data_offset;
    if expected != found {
        return Err(FileError::Length {
            path: path.into(),
            expected,
            found,
        });
    }
    let (shape, data) = match header.descr.trim_start_matches(['<', '>', '|', '=']) {
        "f4" => elements(bytes).map(|(s, v)| (s, Data::F32(v))),
        "f8" => elements::<f64>(bytes)
            .map(|(s, v)| (s, Data::F32(v.into_iter().map(|x| x as f32).collect()))),
        "i1" => elements(bytes).map(|(s, v)| (s, Data::I8(v))),
        "u1" => elements(bytes).map(|(s, v)| (s, Data::U8(v))),
        "i4" => elements(bytes).map(|(s, v)| (s, Data::I32(v))),
        "i8" => elements(bytes).map(|(s, v)| (s, Data::I64(v))),
        _ => return Err(unsupported()),
    }
    .map_err(|e| malformed(e.to_string()))?;
    Ok(Tensor { shape, data })
}

fn elements<T: ReadableElement + Clone>(
    bytes: &[u8],
) -> Result<(Vec<usize>, Vec<T>), ndarray_npy::ReadNpyError> {
    let array = ArrayD::<T>::read_npy(bytes)?;
    Ok((array.shape().to_vec(), array.iter().cloned().collect()))
}

/// What has to be known of a `.npy` header before the data may be trusted with an allocation.
struct Header {
    descr: String,
    shape: Vec<usize>,
    data_offset: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Header, String> {
        let short = || "it ends within the header".to_owned();
        if !bytes.starts_with(b"\x93NUMPY") {
            return Err("it does not start as a .npy file does".into());
        }
        let (start, length) = match *bytes.get(6).ok_or_else(short)? {
            1 => (
                10,
                bytes
                    .get(8..10)
                    .map(|b| usize::from(b[0]) | usize::from(b[1]) << 8),
            ),
            2 | 3 => (
                12,
                bytes
                    .get(8..12)
                    .map(|b| b.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b))),
            ),
            version => return Err(format!("format version {version} is unknown")),
        };
        let data_offset = length
            .and_then(|n| n.checked_add(start))
            .ok_or_else(short)?;
        let text = bytes.get(start..data_offset).ok_or_else(short)?;
        let text = std::str::from_utf8(text).map_err(|_| "the header is not text".to_owned())?;
        let field = |key: &str| {
            let at = text
                .find(&format!("'{key}'"))
                .ok_or_else(|| format!("the header has no {key:?}"))?;
            let rest = text[at + key.len() + 2..].trim_start();
            Ok::<_, String>(rest.strip_prefix(':').unwrap_or(rest).trim_start())
        };
        let descr = field("descr")?;
        let descr = match descr
            .strip_prefix(['\'', '"'])
            .and_then(|d| d.split(['\'', '"']).next())
        {
            Some(simple) => simple.to_owned(),
            None => descr.split('}').next().unwrap_or(descr).to_owned(),
        };
        let shape = field("shape")?;
        let inside = shape
            .strip_prefix('(')
            .and_then(|s| s.split_once(')'))
            .ok_or("the shape is not a tuple")?
            .0;
        let shape = inside
            .split(',')
            .map(str::trim)
            .filter(|d| !d.is_empty())
            .map(|d| {
                d.trim_end_matches('L')
                    .parse()
                    .map_err(|_| format!("{d:?} is not a dimension"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Header {
            descr,
            shape,
            data_offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::{self, File};
    use std::io::Write;

    fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let mut header =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
        while (10 + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    fn read_bytes(name: &str, bytes: &[u8]) -> Result<Tensor, FileError> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        read_tensor(&path)
    }

    #[test]
    fn every_element_type_survives_a_round_trip() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("t.npy");
        for data in [
            Data::F32(vec![1.5, -0.0, f32::MAX, 4.0, 5.0, 6.0]),
            Data::I8(vec![-128, 127, 0, 1, 2, 3]),
            Data::U8(vec![0, 255, 1, 2, 3, 4]),
            Data::I32(vec![i32::MIN, 1, 2, 3, 4, i32::MAX]),
            Data::I64(vec![i64::MIN, 1, 2, 3, 4, i64::MAX]),
        ] {
            let tensor = Tensor {
                shape: vec![2, 3],
                data,
            };
            write_tensor(&path, &tensor).expect("written");
            assert_eq!(read_tensor(&path).expect("read"), tensor);
        }
    }

    #[test]
    fn doubles_and_fortran_order_and_big_endian_are_converted() {
        let doubles: Vec<u8> = [1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let t = read_bytes("t.npy", &npy("<f8", "True", "(2, 3)", &doubles)).expect("read");
        assert_eq!(
            t,
            Tensor::f32(vec![2, 3], vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0])
        );
        let t = read_bytes("t.npy", &npy(">i4", "False", "(1,)", &[0, 0, 1, 2])).expect("read");
        assert_eq!(
            t,
            Tensor {
                shape: vec![1],
                data: Data::I32(vec![258])
            }
        );
    }

    #[test]
    fn bad_files_name_the_problem() {
        let cases: [(&str, Vec<u8>, &str); 8] = [
            (
                "t.npy",
                npy("<f4", "False", "(2,)", &[0; 7]),
                "promises 8 bytes of data, the file holds 7",
            ),
            (
                "t.npy",
                npy("<f4", "False", "(2,)", &[0; 9]),
                "promises 8 bytes of data, the file holds 9",
            ),
            (
                "t.npy",
                npy("<f2", "False", "(2,)", &[0; 4]),
                "element type <f2 is not supported",
            ),
            (
                "t.npy",
                npy("<f4", "False", "(4611686018427387904, 8)", &[]),
                "too large",
            ),
            (
                "t.npy",
                npy("<f4", "False", "(0, 4611686018427387904, 8)", &[]),
                "too large",
            ),
            (
                "t.npy",
                npy("<f4", "False", "(1000000000000,)", &[]),
                "promises 4000000000000 bytes",
            ),
            (
                "t.npy",
                b"\x93NUMPY\x01\x00\xff".to_vec(),
                "ends within the header",
            ),
            ("t.npz", b"PK\x03\x04".to_vec(), "not a valid array file"),
        ];
        for (name, bytes, expected) in cases {
            let message = read_bytes(name, &bytes).expect_err("refused").to_string();
            assert!(
                message.contains(expected),
                "{message} should contain {expected}"
            );
        }
        let message = read_tensor("no/such.npy").expect_err("refused").to_string();
        assert!(message.contains("cannot read no/such.npy"), "{message}");
        assert!(matches!(
            read_tensor("t.txt"),
            Err(FileError::Extension { .. })
        ));
    }

    #[test]
    fn an_archive_member_is_chosen_by_name() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("t.npz");
        let mut writer = ndarray_npy::NpzWriter::new(File::create(&path).expect("created"));
        writer
            .add_array("a", &ndarray::arr1(&[1i8]))
            .expect("added");
        writer
            .add_array("b", &ndarray::arr1(&[2i8]))
            .expect("added");
        writer.finish().expect("finished");
        let message = read_tensor(&path).expect_err("ambiguous").to_string();
        assert!(
            message.contains("holds 2 arrays") && message.contains("a, b"),
            "{message}"
        );
        let b = read_tensor(format!("{}:b", path.display())).expect("read");
        assert_eq!(b.data, Data::I8(vec![2]));
        assert!(matches!(
            read_tensor(format!("{}:c", path.display())),
            Err(FileError::Member { .. })
        ));
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("out.bin");
        fs::write(&path, b"old").expect("written");
        let result = write_atomic(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk on fire"))
        });
        assert!(
            result
                .expect_err("failed")
                .to_string()
                .contains("disk on fire")
        );
        assert_eq!(fs::read(&path).expect("still there"), b"old");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
        write_atomic(&path, |file| file.write_all(b"new")).expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"new");
    }

    #[test]
    fn the_first_non_finite_value_is_found() {
        assert_eq!(first_non_finite(&[0.0, f32::INFINITY, f32::NAN]), Some(1));
        assert_eq!(first_non_finite(&[0.0, f32::MAX]), None);
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0usize..140, byte: u8, cut in 0usize..140) {
            let mut bytes = npy("<f4", "False", "(2, 1)", &[0; 8]);
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut % 16));
            let _ = parse_npy(Path::new("t.npy"), &bytes);
        }
    }
}
