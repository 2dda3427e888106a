//! Keywords in recorded sound.
#![no_std]
#![no_main]

kinglet_firmware::app!(keywords, riscv32_virt::Board);
