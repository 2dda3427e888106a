//! The boards that there is firmware for.

use super::EmulateError;
use crate::compile::Target;
use crate::flash::{self, Flasher};
use crate::setup::{self, Emulator, SetupError, Toolchain};

/// A board with firmware of ours.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Board {
    /// Its name, which is also that of its folder in `boards`.
    pub name: &'static str,
    /// The processor core.
    pub core: &'static str,
    /// What plans are compiled for.
    pub plan_target: Target,
    /// The Rust target of the firmware.
    pub rust_target: &'static str,
    /// The hardware abstraction layer of the firmware.
    pub hal: &'static str,
    /// Bytes of flash.
    pub flash_len: usize,
    /// Bytes of RAM, for static data, the arena and the stack.
    pub ram_len: usize,
    /// Bytes of stack that must be left when everything else is in the RAM.
    pub stack_reserve: usize,
    /// Bytes of memory for plans that are loaded at run time; `None` where the RAM is too small for that.
    pub load_len: Option<usize>,
    /// Whether it has firmware that gets its models by the UART.
    pub has_slots: bool,
    /// Whether it is emulated or can be held.
    pub kind: Kind,
}

/// Where a board's firmware runs.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// In QEMU.
    Emulated(Machine),
    /// On a board that one can hold ([`crate::flash`]).
    Hardware(Flasher),
}

/// QEMU's model of a board.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    /// QEMU's program.
    pub emulator: Emulator,
    /// Arguments that choose the machine.
    pub arguments: &'static [&'static str],
    /// QEMU's `-icount shift`: 2 to this power nanoseconds of virtual time an instruction. The firmware's counter
    /// depends on it.
    pub icount_shift: u32,
}

impl Board {
    /// QEMU's model of it, if it is emulated.
    pub fn machine(&self) -> Option<&Machine> {
        match &self.kind {
            Kind::Emulated(machine) => Some(machine),
            Kind::Hardware(_) => None,
        }
    }

    /// What building its firmware, and emulating it if it is emulated, needs: installed where it is missing.
    ///
    /// # Errors
    ///
    /// [`SetupError`] says what is missing and what to install.
    pub fn toolchain(&self, progress: &dyn Fn(&str)) -> Result<Toolchain, SetupError> {
        let emulator = self.machine().map(|machine| machine.emulator);
        setup::ensure(self.rust_target, emulator, progress)
    }
}

/// The emulated boards have no devices but those that the firmware drives itself.
const NO_HAL: &str = "none";

/// One of Arm's FPGA boards: their registers are driven directly.
const fn mps(
    name: &'static str,
    core: &'static str,
    plan_target: Target,
    rust_target: &'static str,
    arguments: &'static [&'static str],
) -> Board {
    Board {
        name,
        core,
        plan_target,
        rust_target,
        hal: NO_HAL,
        flash_len: 4 << 20,
        ram_len: 4 << 20,
        stack_reserve: 4096,
        load_len: Some(16 << 20),
        has_slots: false,
        kind: Kind::Emulated(Machine {
            emulator: Emulator::Arm,
            arguments,
            icount_shift: 7,
        }),
    }
}

/// QEMU's machine with a 64-bit core of phones, which run the plans of the host.
const fn aarch64(
    name: &'static str,
    core: &'static str,
    arguments: &'static [&'static str],
) -> Board {
    Board {
        name,
        core,
        plan_target: Target::Host,
        rust_target: "aarch64-unknown-none",
        hal: NO_HAL,
        flash_len: 32 << 20,
        ram_len: 64 << 20,
        stack_reserve: 8192,
        load_len: Some(64 << 20),
        has_slots: false,
        kind: Kind::Emulated(Machine {
            emulator: Emulator::Aarch64,
            arguments,
            icount_shift: 0,
        }),
    }
}

/// The board of commands that are not told another.
pub const DEFAULT_BOARD: &str = "mps2-an386";

/// All emulated boards.
pub const BOARDS: &[Board] = &[
    Board {
        has_slots: true,
        ..mps(
            "mps2-an386",
            "Cortex-M4F",
            Target::CortexM4f,
            "thumbv7em-none-eabihf",
            &["-machine", "mps2-an386"],
        )
    },
    mps(
        "mps2-an500",
        "Cortex-M7",
        Target::CortexM7,
        "thumbv7em-none-eabihf",
        &["-machine", "mps2-an500"],
    ),
    mps(
        "mps2-an505",
        "Cortex-M33",
        Target::CortexM33,
        "thumbv8m.main-none-eabihf",
        &["-machine", "mps2-an505"],
    ),
    Board {
        flash_len: 512 << 10,
        ram_len: 512 << 10,
        ..mps(
            "mps3-an547",
            "Cortex-M55",
            Target::CortexM55,
            "thumbv8m.main-none-eabihf",
            &["-machine", "mps3-an547"],
        )
    },
    mps(
        "mps2-an385",
        "Cortex-M3",
        Target::CortexM3,
        "thumbv7m-none-eabi",
        &["-machine", "mps2-an385"],
    ),
    Board {
        name: "microbit",
        core: "Cortex-M0",
        plan_target: Target::CortexM0,
        rust_target: "thumbv6m-none-eabi",
        hal: NO_HAL,
        flash_len: 256 << 10,
        ram_len: 16 << 10,
        stack_reserve: 2048,
        load_len: None,
        has_slots: false,
        kind: Kind::Emulated(Machine {
            emulator: Emulator::Arm,
            arguments: &["-machine", "microbit"],
            icount_shift: 7,
        }),
    },
    Board {
        name: "riscv32-virt",
        core: "RV32IMC",
        plan_target: Target::Riscv32imc,
        rust_target: "riscv32imc-unknown-none-elf",
        hal: NO_HAL,
        flash_len: 4 << 20,
        ram_len: 4 << 20,
        stack_reserve: 4096,
        load_len: Some(16 << 20),
        has_slots: false,
        kind: Kind::Emulated(Machine {
            emulator: Emulator::Riscv32,
            arguments: &[
                "-machine",
                "virt",
                "-cpu",
                "rv32,f=false,d=false",
                "-bios",
                "none",
            ],
            icount_shift: 0,
        }),
    },
    aarch64(
        "cortex-a53-virt",
        "Cortex-A53",
        &[
            "-machine",
            "virt",
            "-m",
            "256",
            "-nic",
            "none",
            "-cpu",
            "cortex-a53",
        ],
    ),
    aarch64(
        "cortex-a76-virt",
        "Cortex-A76",
        &[
            "-machine",
            "virt",
            "-m",
            "256",
            "-nic",
            "none",
            "-cpu",
            "cortex-a76",
        ],
    ),
    aarch64(
        "aarch64-i8mm-virt",
        "Armv8.6-A with i8mm",
        &[
            "-machine", "virt", "-m", "256", "-nic", "none", "-cpu", "max",
        ],
    ),
];

/// The emulated board of this name.
///
/// # Errors
///
/// [`EmulateError::NotEmulated`] for a board that one can hold; [`EmulateError::UnknownBoard`] lists the names there are.
pub fn board(name: &str) -> Result<&'static Board, EmulateError> {
    BOARDS
        .iter()
        .find(|board| board.name == name)
        .ok_or_else(|| match flash::BOARDS.iter().find(|b| b.name == name) {
            Some(board) => EmulateError::NotEmulated { board: board.name },
            None => unknown(name, BOARDS),
        })
}

/// No board has this name, these are those there are.
pub(crate) fn unknown(name: &str, boards: &[Board]) -> EmulateError {
    EmulateError::UnknownBoard {
        name: name.to_owned(),
        known: boards
            .iter()
            .map(|board| board.name)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_board_is_found_by_its_name() {
        for known in BOARDS {
            assert_eq!(board(known.name).unwrap(), known);
        }
        let names: HashSet<_> = BOARDS.iter().map(|board| board.name).collect();
        assert_eq!(names.len(), BOARDS.len(), "names are different");
    }

    #[test]
    fn an_unknown_board_lists_the_known_ones() {
        let error = board("mps2").unwrap_err().to_string();
        assert_eq!(
            error,
            "no board is named `mps2`; known boards: mps2-an386, mps2-an500, mps2-an505, mps3-an547, mps2-an385, microbit, riscv32-virt, cortex-a53-virt, cortex-a76-virt, aarch64-i8mm-virt"
        );
    }
}
