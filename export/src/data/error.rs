//! What can be wrong with a dataset.

use crate::files::FileError;
use std::io;
use std::path::PathBuf;

/// Why a dataset cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Neither a path nor a name of the zoo.
    #[error("there is no file or folder {} and no such dataset in the zoo at {} (set KINGLET_ZOO to the folder that holds `datasets`)", what.display(), zoo.display())]
    Missing {
        /// What was asked for.
        what: PathBuf,
        /// Where the zoo was looked for.
        zoo: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An array could not be read.
    #[error(transparent)]
    Array(#[from] FileError),
    /// Nothing in the folder looks like a dataset.
    #[error("{}: no dataset that Kinglet knows: CIFAR-10 (data_batch_*.bin, or train_*.webp with train_*.labels.u8), MNIST's form (*images-idx3-ubyte, perhaps .gz), one .npz file, or folders of .png and .webp images, one a class", path.display())]
    Unknown {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not what its name promises.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
