// What all targets share.

use kinglet_tests::hostile::Reader;
use kinglet_tests::random::Random;
use libfuzzer_sys::fuzzer_mutate;
use std::path::Path;

/// With `KINGLET_SEEDS=FOLDER`, writes the reader's good input there and ends: a corpus to begin with.
pub fn write_seeds(reader: &Reader) {
    let Some(folder) = std::env::var_os("KINGLET_SEEDS") else {
        return;
    };
    for (i, seed) in (reader.seeds)().iter().enumerate() {
        let path = Path::new(&folder).join(format!("seed-{i}"));
        std::fs::write(path, seed).expect("the folder is there");
    }
    std::process::exit(0);
}

/// libFuzzer's own mutation, and every other time the reader's own behind it or instead of it.
pub fn mutate(reader: &Reader, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random::new(seed.into());
    let shape = reader.shape.filter(|_| random.one_in(2));
    let size = match shape {
        Some(_) if random.one_in(3) => size,
        _ => fuzzer_mutate(data, size, max_size),
    };
    let Some(shape) = shape else {
        return size;
    };
    let mut bytes = data[..size].to_vec();
    shape(&mut bytes, &mut random);
    if bytes.len() > max_size {
        return size;
    }
    data[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
}
