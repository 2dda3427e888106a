//! Runs compiled neural-network plans: `no_std`, no `alloc`, no panic.
//!
//! A plan is made on the host by the `kinglet` command and either linked in:
//!
//! ```ignore
//! kinglet::model!(Kws, "kws.kinglet");
//! let mut arena = Kws::arena();
//! let mut kws = Kws::new(&mut arena)?;
//! let scores = kws.run(&features)?;
//! ```
//!
//! or loaded at run time from any bytes, which [`Plan::parse`] checks completely:
//!
//! ```
//! # fn main() -> Result<(), kinglet::PlanError> {
//! # let bytes = kinglet::doc_plan();
//! let plan = kinglet::Plan::parse(&bytes)?;
//! let mut arena = kinglet::Arena::<64>::new();
//! let mut session = kinglet::DynSession::new(plan, arena.bytes_mut()).expect("64 bytes are enough here");
//! session.input_mut(0).expect("one input").copy_from_slice(&[1, 2, 3, 4]);
//! session.run().expect("a parsed plan runs");
//! assert_eq!(session.output(0), Some(&[1, 2, 3, 4][..]));
//! # Ok(())
//! # }
//! ```
//!
//! What must never happen here: a panic, an allocation, or unbounded time, whatever the plan's bytes are.
#![no_std]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod arena;
mod doc;
pub mod element;
mod error;
mod execute;
pub mod format;
pub mod formats;
pub mod header;
pub mod kernels;
mod linked;
mod observe;
mod plan;
pub mod requantize;
mod session;
#[cfg(feature = "slots")]
pub mod slots;
mod step;

pub use arena::{Aligned, Arena};
pub use error::{PlanError, RunError, SessionError, StepError};
pub use format::{ALL_OPS, OpCode};
pub use observe::Observer;
pub use plan::{Plan, TensorInfo};
pub use session::{DynSession, Session};

#[doc(hidden)]
pub use doc::plan as doc_plan;
