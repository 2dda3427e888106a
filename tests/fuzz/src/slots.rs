//! See `kinglet_tests::hostile`.
#![no_main]

#[path = "target.rs"]
mod target;

use kinglet_tests::hostile::Reader;
use std::sync::LazyLock;

static READER: LazyLock<&Reader> = LazyLock::new(|| kinglet_tests::hostile::reader("slots"));

libfuzzer_sys::fuzz_target!(init: target::write_seeds(&READER), |bytes: &[u8]| {
    (READER.feed)(bytes);
});

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    target::mutate(&READER, data, size, max_size, seed)
});
