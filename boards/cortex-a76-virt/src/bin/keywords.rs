//! Keywords in recorded sound.
#![no_std]
#![no_main]

kinglet_firmware::app!(keywords, cortex_a76_virt::Board);
