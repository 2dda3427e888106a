//! Classes of recorded frames.
#![no_std]
#![no_main]

kinglet_firmware::app!(images, mps3_an547::Board, 160 * 120 * 3);
