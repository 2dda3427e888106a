//! A folder with a small data set that a network learns in seconds, to train and compress in.

use ndarray::{Array1, Array3};
use ndarray_npy::NpzWriter;
use std::fs::File;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with `data.npz`: 8×8 images whose class is the quarter that is bright.
pub struct Folder(TempDir);

impl Default for Folder {
    fn default() -> Self {
        Folder::new()
    }
}

impl Folder {
    /// With the data set and nothing else.
    pub fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        let x = Array3::from_shape_fn((200, 8, 8), |(i, y, x)| {
            let bright = y / 4 * 2 + x / 4 == i % 4;
            (if bright { 150 } else { 60 } + (i * 31 + y * 17 + x * 5) % 50) as u8
        });
        let y = Array1::from_shape_fn(200, |i| (i % 4) as u8);
        let mut file = NpzWriter::new(File::create(folder.path("data.npz")).unwrap());
        file.add_array("x", &x).unwrap();
        file.add_array("y", &y).unwrap();
        file.finish().unwrap();
        folder
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Arguments of a command; words with a full stop that are no numbers are files of the folder.
    pub fn words(&self, words: &str) -> Vec<String> {
        let file = |w: &str| w.contains('.') && w.parse::<f64>().is_err();
        words
            .split_whitespace()
            .map(|w| match file(w) {
                true => self.path(w).display().to_string(),
                false => w.to_owned(),
            })
            .collect()
    }
}
