//! Classes of recorded frames.
#![no_std]
#![no_main]

kinglet_firmware::app!(images, microbit::Board, 2_048);
