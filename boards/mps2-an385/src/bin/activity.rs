//! What the wearer of an inertial sensor does, from recordings.
#![no_std]
#![no_main]

kinglet_firmware::app!(activity, mps2_an385::Board);
