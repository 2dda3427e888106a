//! The firmware with its model linked in.
#![no_std]
#![no_main]

kinglet_firmware::run!(cortex_a76_virt::Board);
