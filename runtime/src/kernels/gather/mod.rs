//! Gathering: runs of memory, one every so many bytes, become runs at other distances.

#[cfg(not(any(kinglet_dsp, kinglet_armv7m)))]
mod portable;
#[cfg(any(kinglet_dsp, kinglet_armv7m))]
mod thumb;

#[cfg(not(any(kinglet_dsp, kinglet_armv7m)))]
pub(super) use portable::gather;
#[cfg(any(kinglet_dsp, kinglet_armv7m))]
pub(super) use thumb::gather;
#[cfg(kinglet_dsp)]
pub(super) use thumb::{Job, copy};
