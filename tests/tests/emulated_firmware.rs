//! The emulated board itself: its counter, its two ways to a plan, and what it does with them.

use kinglet_export::emulate::{Emulation, Mode, Request, board, calibrate, emulate};

fn copies(samples: &[Vec<u8>], mode: Mode, loaded: bool) -> Emulation {
    let plan = kinglet::doc_plan();
    let board = board("mps2-an386").unwrap();
    let request = Request {
        board,
        plan: &plan,
        samples,
        mode,
        loaded,
    };
    emulate(&request, &|_| {}).unwrap()
}

fn samples() -> Vec<Vec<u8>> {
    vec![vec![1, 2, 3, 4], vec![250, 0, 7, 128], vec![0; 4]]
}

#[test]
fn the_instruction_counter_is_exact() {
    let counts = calibrate(board("mps2-an386").unwrap(), &|_| {}).unwrap();
    assert!(
        counts.iter().any(|(executed, _)| *executed < 10),
        "short loops are counted"
    );
    // Timer 0 has 2^32 ticks of 40 ns, an instruction takes 128 ns.
    let range = (1 << 32) * 40 / 128;
    assert!(
        counts.iter().any(|(executed, _)| *executed > range),
        "one loop exceeds the timer"
    );
    for (executed, counted) in counts {
        assert_eq!(executed, counted);
    }
}

#[test]
fn a_linked_in_plan_gives_its_outputs_and_sizes() {
    let emulation = copies(&samples(), Mode::Run, false);
    assert_eq!(emulation.outputs, samples());
    assert_eq!(emulation.plan_bytes, kinglet::doc_plan().len() as u64);
    assert_eq!(
        emulation.flash_bytes,
        emulation.plan_bytes + emulation.code_bytes
    );
    assert!(
        (1000..64 << 10).contains(&emulation.code_bytes),
        "{}",
        emulation.code_bytes
    );
    assert_eq!(emulation.arena_bytes, 20);
    assert!(
        emulation.static_ram_bytes < 1024,
        "{}",
        emulation.static_ram_bytes
    );
    assert!(
        (1..4096).contains(&emulation.stack_peak_bytes),
        "{}",
        emulation.stack_peak_bytes
    );
    assert!(
        emulation
            .log
            .iter()
            .any(|line| line.contains("3 samples done")),
        "{:?}",
        emulation.log
    );
    assert!(emulation.step_outputs.is_empty() && emulation.step_instructions.is_empty());
}

#[test]
fn two_runs_count_the_same_instructions() {
    let counts = copies(&samples(), Mode::Run, false).instructions;
    assert_eq!(counts.len(), 3);
    assert!(counts.iter().all(|count| *count > 0));
    assert_eq!(counts, copies(&samples(), Mode::Run, false).instructions);
}

#[test]
fn a_loaded_plan_gives_the_same_outputs() {
    let emulation = copies(&samples(), Mode::Run, true);
    assert_eq!(emulation.outputs, samples());
    assert_eq!(emulation.code_bytes, emulation.flash_bytes);
    assert!(
        emulation.static_ram_bytes < 1024,
        "{}",
        emulation.static_ram_bytes
    );
}

#[test]
fn every_step_is_seen_and_counted() {
    let emulation = copies(&samples(), Mode::Steps, false);
    assert_eq!(emulation.outputs, samples());
    let copied: Vec<_> = samples().into_iter().map(|sample| vec![sample]).collect();
    assert_eq!(emulation.step_outputs, copied);
    for (steps, total) in emulation
        .step_instructions
        .iter()
        .zip(&emulation.instructions)
    {
        assert!(
            steps.len() == 1 && steps[0] > 0 && steps[0] < *total,
            "{steps:?} of {total}"
        );
    }
}
