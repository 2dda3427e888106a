//! CIFAR-10: the original binary files, and the zoo's lossless grids.

use super::picture::{self, Picture};
use super::{DataError, Dataset, Elements, Split, list, read};
use std::path::{Path, PathBuf};

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// A label, then the red, green and blue planes.
const RECORD: usize = 1 + 3 * PIXELS;
const SHAPE: [usize; 3] = [3, SIDE, SIDE];

/// The folder itself or the one that the original archive makes in it.
pub(super) fn binary_folder(path: &Path) -> Option<PathBuf> {
    [path.to_path_buf(), path.join("cifar-10-batches-bin")]
        .into_iter()
        .find(|p| p.join("data_batch_1.bin").is_file())
}

pub(super) fn read_binary(path: &Path, name: String) -> Result<Dataset, DataError> {
    let mut train = Split {
        elements: Elements::U8(Vec::new()),
        labels: Vec::new(),
    };
    for batch in 1..=5 {
        let file = path.join(format!("data_batch_{batch}.bin"));
        if batch == 1 || file.is_file() {
            records(&file, &mut train)?;
        }
    }
    let mut test = Split {
        elements: Elements::U8(Vec::new()),
        labels: Vec::new(),
    };
    records(&path.join("test_batch.bin"), &mut test)?;
    Dataset::new(path, name, SHAPE.into(), train, Some(test))
}

fn records(file: &Path, split: &mut Split) -> Result<(), DataError> {
    let bytes = read(file)?;
    if bytes.len() % RECORD != 0 {
        return Err(DataError::Malformed {
            path: file.into(),
            reason: format!(
                "{} bytes are not a whole number of records of {RECORD}",
                bytes.len()
            ),
        });
    }
    let Elements::U8(elements) = &mut split.elements else {
        return Ok(());
    };
    for record in bytes.chunks_exact(RECORD) {
        split.labels.push(record[0].into());
        let planes = &record[1..];
        for pixel in 0..PIXELS {
            elements.extend([0, 1, 2].map(|c| planes[c * PIXELS + pixel]));
        }
    }
    Ok(())
}

pub(super) fn has_grids(path: &Path) -> bool {
    path.join("train_1.webp").is_file() && path.join("train_1.labels.u8").is_file()
}

pub(super) fn read_grids(path: &Path, name: String) -> Result<Dataset, DataError> {
    let grids = |prefix: &str| -> Result<Split, DataError> {
        let mut elements = Vec::new();
        let mut labels = Vec::new();
        for file in list(path)? {
            let stem = file
                .file_stem()
                .and_then(|s| s.to_str())
                .unwrap_or_default();
            if !stem.starts_with(prefix) || file.extension().is_none_or(|e| e != "webp") {
                continue;
            }
            let own = read(&path.join(format!("{stem}.labels.u8")))?;
            tiles(&file, &picture::read(&file)?, own.len(), &mut elements)?;
            labels.extend(own.iter().map(|&l| u16::from(l)));
        }
        Ok(Split {
            elements: Elements::U8(elements),
            labels,
        })
    };
    let (train, test) = (grids("train")?, grids("test")?);
    Dataset::new(path, name, SHAPE.into(), train, Some(test))
}

/// Cuts a grid into its images, row by row.
fn tiles(
    file: &Path,
    grid: &Picture,
    count: usize,
    elements: &mut Vec<u8>,
) -> Result<(), DataError> {
    let (columns, rows) = (grid.width / SIDE, grid.height / SIDE);
    if grid.channels != 3 || !grid.width.is_multiple_of(SIDE) || columns * rows < count {
        return Err(DataError::Malformed {
            path: file.into(),
            reason: format!(
                "a grid of {}×{} pixels with {} channels does not hold {count} colour images of {SIDE}×{SIDE}",
                grid.width, grid.height, grid.channels
            ),
        });
    }
    for tile in 0..count {
        let (row, column) = (tile / columns * SIDE, tile % columns * SIDE);
        for y in row..row + SIDE {
            let from = (y * grid.width + column) * 3;
            elements.extend_from_slice(&grid.pixels[from..from + SIDE * 3]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_records_become_pixels() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut record = vec![7];
        for plane in 0..3u8 {
            record.extend((0..PIXELS).map(|i| plane * 80 + (i % 50) as u8));
        }
        for file in ["data_batch_1.bin", "test_batch.bin"] {
            std::fs::write(folder.path().join(file), record.repeat(2)).expect("written");
        }
        let data = super::super::open(folder.path()).expect("a dataset");
        assert_eq!((data.train.len(), data.classes), (2, 8));
        let Elements::U8(pixels) = &data.train.elements else {
            panic!("bytes");
        };
        assert_eq!(pixels[3..6], [1, 81, 161]);
        std::fs::write(folder.path().join("test_batch.bin"), [0; 5]).expect("written");
        assert!(super::super::open(folder.path()).is_err());
    }

    #[test]
    fn a_grid_is_cut_row_by_row() {
        let (width, height) = (64, 32);
        let pixels = (0..width * height)
            .flat_map(|i| [(i % width) as u8, (i / width) as u8, 9])
            .collect();
        let grid = Picture {
            width,
            height,
            channels: 3,
            pixels,
        };
        let mut elements = Vec::new();
        tiles(Path::new("x"), &grid, 2, &mut elements).expect("fits");
        assert_eq!(elements[PIXELS * 3..][..6], [32, 0, 9, 33, 0, 9]);
        assert!(tiles(Path::new("x"), &grid, 3, &mut elements).is_err());
    }
}
