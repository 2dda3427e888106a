//! Classes of recorded frames.
#![no_std]
#![no_main]

kinglet_firmware::app!(images, riscv32_virt::Board, 160 * 120 * 3);
