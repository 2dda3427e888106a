//! Models that are replaced in the field, without flashing the firmware: signed images in two slots of NOR flash, and a serial
//! protocol that brings them.
//!
//! ```ignore
//! let mut slots = Slots::new(flash, LAYOUT, DEVICE)?;
//! let started = slots.start(|_, model| mapped(model), arena.bytes_mut()).ok_or(NoModel)?; // the newest that works
//! let mut session = DynSession::new(started.plan, arena.bytes_mut())?;
//! session.run()?;
//! slots.confirm()?; // it stays
//! let mut endpoint = Endpoint::new();
//! loop {
//!     if let Some(Event::Restart) = endpoint.poll(&mut uart, &mut slots)? {
//!         reset();
//!     }
//!     session.run()?;
//! }
//! ```
//!
//! An image is an [`ImageHeader`] and a plan. Nothing of it is used before its checksum and its Ed25519 signature have been
//! checked, which every boot does again. A new image goes into the slot that does not run, is tried once at the next boot, and
//! takes over when it has been confirmed; otherwise the model before it runs again. Power may fail at any write and any erase:
//! `docs/slots.md` has the states and why they suffice.
#![warn(clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

mod endpoint;
mod error;
mod frame;
mod header;
// Records are `pub` by their macro.
#[allow(unreachable_pub)]
mod mark;
#[allow(unreachable_pub)]
mod message;
mod receive;
mod signature;
mod store;

pub use endpoint::{Endpoint, Event};
pub use error::{Error, Fault, Refusal};
pub use frame::{Decoder, Frame, FrameError, MAX_PAYLOAD, encode};
pub use header::{Device, HEADER_LEN, HEADER_VERSION, IMAGE_MAGIC, ImageHeader, Target, flags};
pub use mark::State;
pub use message::{
    APPLICATION, CHUNK_LEN, Message, PROTOCOL, Reply, Running, Status, kind, reply_kind,
};
pub use receive::Receiver;
pub use signature::{Sha512, key_id, verify};
pub use store::{Layout, Model, Slot, Slots, Started};
