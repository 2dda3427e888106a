//! What the wearer of an inertial sensor does, from recordings.
#![no_std]
#![no_main]

kinglet_firmware::app!(activity, riscv32_virt::Board);
