//! What the wearer of an inertial sensor does, from recordings.
#![no_std]
#![no_main]

kinglet_firmware::app!(activity, cortex_a76_virt::Board);
