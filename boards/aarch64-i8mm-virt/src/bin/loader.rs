//! The firmware without a model: it loads the plan at run time. Its arena is nearly all RAM; the rest is for the stack.
#![no_std]
#![no_main]

kinglet_firmware::loader!(aarch64_i8mm_virt::Board, 0x400_0000 - 0x2_0000);
