//! Proves the instruction counter.
#![no_std]
#![no_main]

kinglet_firmware::calibrate!(mps3_an547::Board);
