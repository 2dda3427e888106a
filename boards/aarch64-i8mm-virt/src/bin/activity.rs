//! What the wearer of an inertial sensor does, from recordings.
#![no_std]
#![no_main]

kinglet_firmware::app!(activity, aarch64_i8mm_virt::Board);
