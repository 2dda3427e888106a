//! The firmware with its model linked in.
#![no_std]
#![no_main]

kinglet_hardware::run!(nucleo_h743zi::Board);
