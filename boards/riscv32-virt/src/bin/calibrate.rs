//! Proves the instruction counter.
#![no_std]
#![no_main]

kinglet_firmware::calibrate!(riscv32_virt::Board);
