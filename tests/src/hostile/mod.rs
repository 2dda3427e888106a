//! Hostile input for every reader: what is fed to it, and where good input to damage comes from.
//!
//! `tests/tests/mutation.rs` damages the seeds in a fixed order, `tests/fuzz` has libFuzzer do it. Both call the functions here.
//! A function returns whether the input was accepted; it panics where a reader, or what it accepted, misbehaves.

pub mod models;
pub mod mutate;
pub mod operators;
pub mod plans;
pub mod readers;
pub mod slots;

use crate::random::Random;

/// One reader under test.
pub struct Reader {
    /// Short name, that of the fuzz target.
    pub name: &'static str,
    /// Feeds it; whether it accepted the bytes.
    pub feed: fn(&[u8]) -> bool,
    /// Good input.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Repairs what would have damaged input refused at once (a checksum), or damages it by its structure.
    pub shape: Option<fn(&mut Vec<u8>, &mut Random)>,
}

/// All readers.
pub const READERS: [Reader; 11] = [
    Reader {
        name: "plan",
        feed: plans::run,
        seeds: plans::seeds,
        shape: Some(|bytes, random| plans::mend(bytes, random)),
    },
    Reader {
        name: "onnx",
        feed: models::compile,
        seeds: models::seeds,
        shape: Some(models::distort),
    },
    Reader {
        name: "recipe",
        feed: readers::recipe,
        seeds: readers::recipes,
        shape: None,
    },
    Reader {
        name: "golomb",
        feed: readers::golomb,
        seeds: readers::noise,
        shape: None,
    },
    Reader {
        name: "rf8",
        feed: readers::rf8,
        seeds: readers::noise,
        shape: None,
    },
    Reader {
        name: "slots",
        feed: slots::boot,
        seeds: slots::flashes,
        shape: Some(|bytes, _| slots::mend(bytes)),
    },
    Reader {
        name: "frames",
        feed: slots::serve,
        seeds: slots::conversations,
        shape: None,
    },
    Reader {
        name: "arrays",
        feed: readers::array,
        seeds: readers::arrays,
        shape: None,
    },
    Reader {
        name: "pictures",
        feed: readers::picture,
        seeds: readers::pictures,
        shape: None,
    },
    Reader {
        name: "idx",
        feed: readers::idx,
        seeds: readers::idx_files,
        shape: None,
    },
    Reader {
        name: "checkpoint",
        feed: readers::checkpoint,
        seeds: readers::checkpoints,
        shape: None,
    },
];

/// The reader of this name.
///
/// # Panics
/// There is none.
pub fn reader(name: &str) -> &'static Reader {
    let found = READERS.iter().find(|r| r.name == name);
    found.unwrap_or_else(|| panic!("no reader is called {name}"))
}

/// Input number `case` of a reader: good input, damaged.
pub fn damaged(reader: &Reader, seeds: &[Vec<u8>], case: u64) -> Vec<u8> {
    let name = reader
        .name
        .bytes()
        .fold(0, |n: u64, b| n.rotate_left(8) ^ u64::from(b));
    let mut random = Random::new(name ^ case.wrapping_mul(0x9e37_79b9));
    let mut bytes = seeds[random.below(seeds.len())].clone();
    match reader.shape {
        // Both kinds of damage, and both together.
        Some(shape) if !random.one_in(3) => {
            if random.one_in(2) {
                mutate::mutate(&mut bytes, seeds, &mut random);
            }
            shape(&mut bytes, &mut random);
        }
        _ => mutate::mutate(&mut bytes, seeds, &mut random),
    }
    bytes
}
