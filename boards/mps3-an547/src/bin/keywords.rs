//! Keywords in recorded sound.
#![no_std]
#![no_main]

kinglet_firmware::app!(keywords, mps3_an547::Board);
