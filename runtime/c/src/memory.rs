//! Memory of plans and arenas.

use zerocopy::IntoBytes;

/// Bytes on the heap that begin at a multiple of 16, as plans and arenas must.
pub(crate) struct Memory {
    words: Vec<u128>,
    len: usize,
}

impl Memory {
    /// `len` zeroes; `None` where there is not so much memory.
    pub(crate) fn zeroed(len: usize) -> Option<Memory> {
        let count = len.div_ceil(size_of::<u128>());
        let mut words = Vec::new();
        words.try_reserve_exact(count).ok()?;
        words.resize(count, 0);
        Some(Memory { words, len })
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let bytes = self.words.as_mut_bytes();
        bytes.get_mut(..self.len).unwrap_or_default()
    }

    /// The bytes, for as long as the caller likes.
    ///
    /// # Safety
    /// They are used only while this lives, and by nobody else. Moving it does not move them.
    pub(crate) unsafe fn forever(&mut self) -> &'static mut [u8] {
        let bytes = self.bytes_mut();
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr(), bytes.len()) }
    }
}
