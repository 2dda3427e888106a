//! What the end-to-end tests share: the model zoo, the command under test, and small networks made in code.

pub mod apps;
pub mod book;
pub mod bounds;
pub mod browser;
pub mod command;
pub mod console;
pub mod costs;
pub mod device;
pub mod formats;
pub mod general_network;
pub mod hostile;
pub mod networks;
pub mod performance;
pub mod pictures;
pub mod pytorch;
pub mod quarters;
pub mod random;
pub mod random_graphs;
pub mod random_network;
pub mod split_network;
pub mod ties;
pub mod wide_network;
pub mod zoo;

use std::path::{Path, PathBuf};

/// The root of this source tree.
pub fn root() -> PathBuf {
    book::normal(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}
