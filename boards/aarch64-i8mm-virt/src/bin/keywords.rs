//! Keywords in recorded sound.
#![no_std]
#![no_main]

kinglet_firmware::app!(keywords, aarch64_i8mm_virt::Board);
