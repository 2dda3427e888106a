//! Models for devices in the field: keys, signed images, and the host's end of the serial line. The device's end, and the one
//! definition of image and protocol, is [`kinglet::slots`].

mod image;
mod key;
mod link;
mod push;

pub use image::{ImageInfo, SignError, SignOptions, seal, sign};
pub use key::{KeyError, PublicKey, SecretKey};
pub use link::{Link, LinkError, Transport, open};
pub use push::{Outcome, PushError, Step, push};
