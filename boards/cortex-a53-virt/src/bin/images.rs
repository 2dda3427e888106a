//! Classes of recorded frames.
#![no_std]
#![no_main]

kinglet_firmware::app!(images, cortex_a53_virt::Board, 160 * 120 * 3);
