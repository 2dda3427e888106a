//! The emulated boards themselves: their counters, their two ways to a plan, and what they do with them.

use kinglet_export::emulate::{EmulateError, Emulation, Mode, Request, board, calibrate, emulate};

fn copies(
    name: &str,
    samples: &[Vec<u8>],
    mode: Mode,
    loaded: bool,
) -> Result<Emulation, EmulateError> {
    let plan = kinglet::doc_plan();
    let request = Request {
        board: board(name)?,
        plan: &plan,
        samples,
        mode,
        loaded,
    };
    emulate(&request, &|_| {})
}

fn samples() -> Vec<Vec<u8>> {
    vec![vec![1, 2, 3, 4], vec![250, 0, 7, 128], vec![0; 4]]
}

fn the_instruction_counter_is_exact(name: &str) {
    let counts = calibrate(board(name).unwrap(), &|_| {}).unwrap();
    assert!(
        counts.iter().any(|(executed, _)| *executed < 10),
        "short loops are counted"
    );
    // The FPGA's cycle counter has 2^32 ticks of at most 50 ns, an instruction takes 128 ns.
    let range = (1 << 32) * 50 / 128;
    assert!(
        counts.iter().any(|(executed, _)| *executed > range),
        "one loop exceeds the counter"
    );
    for (executed, counted) in counts {
        assert_eq!(executed, counted);
    }
}

fn a_linked_in_plan_gives_its_outputs_and_sizes(name: &str) {
    let emulation = copies(name, &samples(), Mode::Run, false).unwrap();
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
    // Again: the same instructions.
    assert!(emulation.instructions.len() == 3 && emulation.instructions.iter().all(|&n| n > 0));
    let again = copies(name, &samples(), Mode::Run, false).unwrap();
    assert_eq!(emulation.instructions, again.instructions);
}

fn every_step_is_seen_and_counted(name: &str) {
    let emulation = copies(name, &samples(), Mode::Steps, false).unwrap();
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

macro_rules! on_boards {
    ($($module:ident: $name:literal;)*) => {
        $(
            mod $module {
                #[test]
                fn the_instruction_counter_is_exact() {
                    super::the_instruction_counter_is_exact($name);
                }

                #[test]
                fn a_linked_in_plan_gives_its_outputs_and_sizes() {
                    super::a_linked_in_plan_gives_its_outputs_and_sizes($name);
                }

                #[test]
                fn every_step_is_seen_and_counted() {
                    super::every_step_is_seen_and_counted($name);
                }
            }
        )*

        #[test]
        fn every_board_is_tested() {
            let tested = [$($name),*];
            assert!(kinglet_export::emulate::BOARDS.iter().map(|b| b.name).eq(tested));
        }
    };
}

on_boards! {
    m4f: "mps2-an386";
    m7: "mps2-an500";
    m33: "mps2-an505";
    m55: "mps3-an547";
    m3: "mps2-an385";
    m0: "microbit";
    riscv: "riscv32-virt";
    a53: "cortex-a53-virt";
    a76: "cortex-a76-virt";
    i8mm: "aarch64-i8mm-virt";
}

#[test]
fn a_loaded_plan_gives_the_same_outputs() {
    let emulation = copies("mps2-an386", &samples(), Mode::Run, true).unwrap();
    assert_eq!(emulation.outputs, samples());
    assert_eq!(emulation.code_bytes, emulation.flash_bytes);
    assert!(
        emulation.static_ram_bytes < 1024,
        "{}",
        emulation.static_ram_bytes
    );
}
