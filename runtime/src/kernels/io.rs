//! Where a kernel reads and writes.

/// Input and output of a kernel that may work in place.
#[derive(Debug)]
pub enum Io<'a> {
    /// Two pieces of memory.
    Apart {
        /// Input.
        x: &'a [i8],
        /// Output.
        y: &'a mut [i8],
    },
    /// One piece of memory, as long as the longer of the two; both begin where it begins.
    InPlace(&'a mut [i8]),
}

impl Io<'_> {
    /// The input. In place, what lies before the position being written is overwritten already.
    #[inline(always)]
    pub fn input(&self) -> &[i8] {
        match self {
            Io::Apart { x, .. } => x,
            Io::InPlace(both) => both,
        }
    }

    /// The output.
    #[inline(always)]
    pub fn output(&mut self) -> &mut [i8] {
        match self {
            Io::Apart { y, .. } => y,
            Io::InPlace(both) => both,
        }
    }

    /// Where input and output begin and how long they are, for kernels that do not borrow them one after the other.
    #[cfg(kinglet_dsp)]
    pub(super) fn pointers(&mut self) -> ((*const i8, usize), (*mut i8, usize)) {
        match self {
            Io::Apart { x, y } => ((x.as_ptr(), x.len()), (y.as_mut_ptr(), y.len())),
            Io::InPlace(both) => {
                let start = both.as_mut_ptr();
                ((start.cast_const(), both.len()), (start, both.len()))
            }
        }
    }
}
