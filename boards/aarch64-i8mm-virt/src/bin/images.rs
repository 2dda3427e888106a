//! Classes of recorded frames.
#![no_std]
#![no_main]

kinglet_firmware::app!(images, aarch64_i8mm_virt::Board, 160 * 120 * 3);
