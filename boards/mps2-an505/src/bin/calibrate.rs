//! Proves the instruction counter.
#![no_std]
#![no_main]

kinglet_firmware::calibrate!(mps2_an505::Board);
