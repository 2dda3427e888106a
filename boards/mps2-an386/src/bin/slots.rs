//! The firmware that gets its models by the UART. Its arena is what a device may have.
#![no_std]
#![no_main]

kinglet_firmware::slots!(mps2_an386::Board, 0x4_0000);
