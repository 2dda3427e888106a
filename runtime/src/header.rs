//! Reading a plan's header in `const` context, for [`crate::model!`]. Wrong bytes are a compile error there; do not call
//! these at run time, where they panic.

use crate::format::{DType, Header, IoRecord, MAGIC, VERSION};

const fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

const fn io_at(bytes: &[u8], index: usize) -> usize {
    u32_at(bytes, core::mem::offset_of!(Header, io_offset)) as usize + index * size_of::<IoRecord>()
}

/// The operator set.
pub const fn op_set(bytes: &[u8]) -> u128 {
    let at = core::mem::offset_of!(Header, op_set);
    let (mut set, mut word) = (0, 4);
    while word > 0 {
        word -= 1;
        set = set << 32 | u32_at(bytes, at + 4 * word) as u128;
    }
    set
}

/// Bytes of arena.
pub const fn arena_len(bytes: &[u8]) -> usize {
    u32_at(bytes, core::mem::offset_of!(Header, arena_len)) as usize
}

/// Bytes of the core.
pub const fn core_len(bytes: &[u8]) -> usize {
    u32_at(bytes, core::mem::offset_of!(Header, core_len)) as usize
}

/// Number of inputs.
pub const fn input_count(bytes: &[u8]) -> usize {
    u32_at(bytes, core::mem::offset_of!(Header, input_count)) as usize & 0xffff
}

/// Number of outputs.
pub const fn output_count(bytes: &[u8]) -> usize {
    u32_at(bytes, core::mem::offset_of!(Header, input_count)) as usize >> 16
}

/// [`DType`] code of input or output `index` (outputs follow the inputs).
pub const fn dtype(bytes: &[u8], index: usize) -> u8 {
    bytes[io_at(bytes, index)]
}

/// Number of elements of input or output `index` (outputs follow the inputs).
pub const fn elements(bytes: &[u8], index: usize) -> usize {
    let at = io_at(bytes, index);
    let size = match DType::from_code(bytes[at]) {
        Some(dtype) => dtype.size(),
        None => panic!("the plan has an unknown element type"),
    };
    u32_at(bytes, at + core::mem::offset_of!(IoRecord, arena) + 4) as usize / size
}

/// The core of `bytes` as an array, its start checked at build time (magic, version, length). The rest is checked by
/// [`crate::Plan::parse`] when the session starts.
pub const fn checked_plan<const N: usize>(bytes: &[u8]) -> [u8; N] {
    assert!(
        bytes.len() >= size_of::<Header>(),
        "not a Kinglet plan: too short"
    );
    let mut i = 0;
    while i < MAGIC.len() {
        assert!(bytes[i] == MAGIC[i], "not a Kinglet plan");
        i += 1;
    }
    let version = u16::from_le_bytes([bytes[MAGIC.len()], bytes[MAGIC.len() + 1]]);
    assert!(
        version == VERSION,
        "the plan has another format version: compile the model again"
    );
    assert!(bytes.len() >= N, "the plan is cut off");
    let mut core = [0; N];
    core.copy_from_slice(bytes.split_at(N).0);
    core
}
