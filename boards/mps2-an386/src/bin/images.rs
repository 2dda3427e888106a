//! Classes of recorded frames.
#![no_std]
#![no_main]

kinglet_firmware::app!(images, mps2_an386::Board, 160 * 120 * 3);
