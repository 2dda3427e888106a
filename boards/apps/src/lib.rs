//! Applications, from the sensor to the answer: [`keywords`] in sound, [`activity`] from an inertial sensor, [`image`]s.
//!
//! One source for all boards: sensors come through `embedded-hal`'s traits (or a small trait of ours where it has none), models
//! through [`Model`], which a `kinglet` session is. Everything is `no_std`, without allocation and without panics, and computes
//! the same bits everywhere: floating point is `f32` in IEEE's operations only, with `libm` for logarithms and roots.
//!
//! ```
//! use kinglet_apps::keywords::{HOP, Keywords, Settings};
//!
//! # fn listen(model: &mut impl kinglet_apps::Model, microphone: &[i16]) -> Result<(), kinglet_apps::Error> {
//! let mut keywords = Keywords::<12>::new(Settings::TINY);
//! for hop in microphone.as_chunks::<HOP>().0 {
//!     if let Some(heard) = keywords.hear(hop, model)? {
//!         // `heard.scores` of the last second, and `heard.decision` when a word has been spoken.
//!         # let _ = heard;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
#![no_std]
#![forbid(unsafe_code)]

pub mod activity;
pub mod image;
pub mod imu;
pub mod keywords;
pub mod mfcc;
pub mod model;
pub mod recorded;
pub mod smooth;
mod window;

pub use model::{Error, Model};
pub use window::Window;
