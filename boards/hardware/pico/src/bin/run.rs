//! The firmware with its model linked in.
#![no_std]
#![no_main]

kinglet_hardware::run!(pico::Board);
