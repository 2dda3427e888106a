// What every target does: the function that the mutation test calls, and as custom mutator its knowledge of the format.

use kinglet_tests::hostile::{Reader, reader};
use kinglet_tests::random::Random;
use libfuzzer_sys::fuzzer_mutate;

/// The reader; `KINGLET_SEEDS=FOLDER` writes its seeds there and ends: the corpus to begin with.
pub fn target(name: &str) -> &'static Reader {
    let reader = reader(name);
    if let Some(folder) = std::env::var_os("KINGLET_SEEDS") {
        for (i, seed) in (reader.seeds)().iter().enumerate() {
            std::fs::write(
                std::path::Path::new(&folder).join(format!("seed-{i}")),
                seed,
            )
            .expect("the folder is there");
        }
        std::process::exit(0);
    }
    reader
}

/// libFuzzer's own mutation, and every other time the reader's behind it or instead of it.
pub fn mutate(reader: &Reader, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random::new(seed.into());
    let size = if random.one_in(3) {
        size
    } else {
        fuzzer_mutate(data, size, max_size)
    };
    let Some(shape) = reader.shape.filter(|_| random.one_in(2)) else {
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
