//! Damaged input for every reader, in a fixed order: no panic, no unbounded memory, no unbounded time.
//!
//! `KINGLET_MUTATION=NAME:CASE` runs one case again; NAME and CASE are in the message of a failure, and in
//! `target/tmp/mutation-NAME` where the process died. `KINGLET_MUTATION_CASES` multiplies the number of cases.

use kinglet_tests::hostile::{self, READERS, Reader};
use peak_alloc::PeakAlloc;
use std::fs::File;
use std::io::{Seek, Write};
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What one case may take besides what was there before it.
const MOST_BYTES: usize = 64 << 20;
/// In optimised code, on a machine that has more to do.
const MOST_TIME: Duration = Duration::from_secs(20);

/// One test at a time: memory is counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn run_case(reader: &Reader, seeds: &[Vec<u8>], case: u64) -> bool {
    let bytes = hostile::damaged(reader, seeds, case);
    let name = format!("{}:{case}", reader.name);
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let start = Instant::now();
    let accepted = catch_unwind(|| (reader.feed)(&bytes))
        .unwrap_or_else(|_| panic!("{name}: a panic; its message is above"));
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(taken <= MOST_BYTES, "{name}: {taken} bytes of memory");
    let time = start.elapsed();
    assert!(time <= MOST_TIME, "{name}: {time:?}");
    accepted
}

fn run(name: &str, cases: u64) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let reader = hostile::reader(name);
    let seeds = (reader.seeds)();
    for (i, seed) in seeds.iter().enumerate() {
        let good = (reader.feed)(seed);
        // Half a conversation brings no model, and an empty flash has none.
        let may_fail = matches!(name, "golomb" | "frames" | "slots");
        assert!(good || may_fail, "{name}: seed {i} is good");
    }
    let asked = std::env::var("KINGLET_MUTATION").ok();
    if let Some((asked, case)) = asked.as_deref().and_then(|a| a.split_once(':')) {
        if asked == name {
            run_case(reader, &seeds, case.parse().unwrap());
        }
        return;
    }
    let times = std::env::var("KINGLET_MUTATION_CASES").map_or(1, |n| n.parse().unwrap());
    let note = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mutation-{name}"));
    let mut file = File::create(&note).unwrap();
    let (start, mut accepted) = (Instant::now(), 0u64);
    for case in 0..cases * times {
        file.rewind().unwrap();
        write!(file, "{case:<20}").unwrap();
        accepted += u64::from(run_case(reader, &seeds, case));
    }
    drop(file);
    // Another run of this test may have removed it.
    let _gone = std::fs::remove_file(note);
    let total = cases * times;
    println!(
        "{name}: {total} cases, {accepted} accepted, {:.1} s",
        start.elapsed().as_secs_f64()
    );
    // Any byte is a code of RF8.
    assert!(
        accepted < total || name == "rf8",
        "{name}: damage is noticed"
    );
    assert!(accepted > 0, "{name}: some input gets through");
}

#[test]
fn every_reader_has_a_test() {
    let source = include_str!("mutation.rs");
    for reader in READERS {
        assert!(
            source.contains(&format!("run(\"{}\", ", reader.name)),
            "{}",
            reader.name
        );
    }
}

#[test]
fn plans() {
    run("plan", 60_000);
}

#[test]
fn every_model_to_begin_with_compiles() {
    let models = hostile::models::seeds();
    let refused = models.iter().enumerate().filter_map(|(i, model)| {
        let error = hostile::models::outcome(model).err()?;
        Some(format!("{i}: {error}"))
    });
    assert_eq!(refused.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn onnx_models() {
    run("onnx", 6_000);
}

#[test]
fn recipes() {
    run("recipe", 20_000);
}

#[test]
fn golomb_codes() {
    run("golomb", 20_000);
}

#[test]
fn rf8_codes() {
    run("rf8", 10_000);
}

#[test]
fn flash_of_devices() {
    run("slots", 3_000);
}

#[test]
fn serial_frames() {
    run("frames", 10_000);
}

#[test]
fn arrays() {
    run("arrays", 20_000);
}

#[test]
fn pictures() {
    run("pictures", 20_000);
}

#[test]
fn idx_files() {
    run("idx", 20_000);
}

#[test]
fn checkpoints() {
    run("checkpoint", 20_000);
}
