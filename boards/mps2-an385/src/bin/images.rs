//! Classes of recorded frames.
#![no_std]
#![no_main]

kinglet_firmware::app!(images, mps2_an385::Board, 160 * 120 * 3);
