//! The boards that one can hold.

use super::flasher::{Drive, Flasher};
use crate::compile::Target;
use crate::emulate::{self, Board, EmulateError, Kind};

/// All boards that one can hold.
pub const BOARDS: &[Board] = &[
    Board {
        name: "esp32c3",
        core: "RV32IMC",
        plan_target: Target::Riscv32imc,
        rust_target: "riscv32imc-unknown-none-elf",
        hal: "esp-hal",
        flash_len: 4 << 20,
        // What the HAL's memory map leaves to data.
        ram_len: 313 << 10,
        stack_reserve: 8192,
        load_len: None,
        has_slots: false,
        kind: Kind::Hardware(Flasher::EspFlash),
    },
    Board {
        name: "nrf52840-dk",
        core: "Cortex-M4F",
        plan_target: Target::CortexM4f,
        rust_target: "thumbv7em-none-eabihf",
        hal: "embassy-nrf",
        flash_len: 1 << 20,
        ram_len: 256 << 10,
        stack_reserve: 4096,
        load_len: None,
        has_slots: false,
        kind: Kind::Hardware(Flasher::ProbeRs {
            chip: "nRF52840_xxAA",
            drive: None,
        }),
    },
    Board {
        name: "nucleo-f446re",
        core: "Cortex-M4F",
        plan_target: Target::CortexM4f,
        rust_target: "thumbv7em-none-eabihf",
        hal: "embassy-stm32",
        flash_len: 512 << 10,
        ram_len: 128 << 10,
        stack_reserve: 4096,
        load_len: None,
        has_slots: false,
        kind: Kind::Hardware(Flasher::ProbeRs {
            chip: "STM32F446RETx",
            drive: None,
        }),
    },
    Board {
        name: "nucleo-h743zi",
        core: "Cortex-M7",
        plan_target: Target::CortexM7,
        rust_target: "thumbv7em-none-eabihf",
        hal: "embassy-stm32",
        flash_len: 2 << 20,
        ram_len: 512 << 10,
        stack_reserve: 4096,
        load_len: None,
        has_slots: false,
        kind: Kind::Hardware(Flasher::ProbeRs {
            chip: "STM32H743ZITx",
            drive: None,
        }),
    },
    Board {
        name: "pico",
        core: "Cortex-M0+",
        plan_target: Target::CortexM0,
        rust_target: "thumbv6m-none-eabi",
        hal: "embassy-rp",
        flash_len: 2 << 20,
        ram_len: 264 << 10,
        stack_reserve: 4096,
        load_len: None,
        has_slots: false,
        kind: Kind::Hardware(Flasher::ProbeRs {
            chip: "RP2040",
            drive: Some(Drive {
                name: "RPI-RP2",
                family: 0xe48b_ff56,
            }),
        }),
    },
    Board {
        name: "pico2",
        core: "Cortex-M33",
        plan_target: Target::CortexM33,
        rust_target: "thumbv8m.main-none-eabihf",
        hal: "embassy-rp",
        flash_len: 4 << 20,
        ram_len: 512 << 10,
        stack_reserve: 4096,
        load_len: None,
        has_slots: false,
        kind: Kind::Hardware(Flasher::ProbeRs {
            chip: "RP235x",
            drive: Some(Drive {
                name: "RP2350",
                family: 0xe48b_ff59,
            }),
        }),
    },
];

/// The board of this name that one can hold.
///
/// # Errors
///
/// [`EmulateError::UnknownBoard`] lists the names there are.
pub fn board(name: &str) -> Result<&'static Board, EmulateError> {
    BOARDS
        .iter()
        .find(|board| board.name == name)
        .ok_or_else(|| emulate::unknown(name, BOARDS))
}

/// The board of this name, emulated or not.
///
/// # Errors
///
/// [`EmulateError::UnknownBoard`] lists the names of the emulated ones.
pub fn any_board(name: &str) -> Result<&'static Board, EmulateError> {
    board(name).or_else(|_| emulate::board(name))
}
