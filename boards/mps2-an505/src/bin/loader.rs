//! The firmware without a model: it loads the plan at run time. Its arena is nearly all RAM; the rest is for the stack.
#![no_std]
#![no_main]

kinglet_firmware::loader!(mps2_an505::Board, 0x40_0000 - 0x1_0000);
