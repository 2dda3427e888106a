//! Keywords in recorded sound.
#![no_std]
#![no_main]

kinglet_firmware::app!(keywords, mps2_an505::Board);
