//! The firmware with its model linked in.
#![no_std]
#![no_main]

kinglet_firmware::run!(aarch64_i8mm_virt::Board);
