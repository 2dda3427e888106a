//! Proves the instruction counter.
#![no_std]
#![no_main]

kinglet_firmware::calibrate!(aarch64_i8mm_virt::Board);
