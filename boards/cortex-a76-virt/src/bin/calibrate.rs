//! Proves the instruction counter.
#![no_std]
#![no_main]

kinglet_firmware::calibrate!(cortex_a76_virt::Board);
