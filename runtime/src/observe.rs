//! Looking into a run, step by step.

/// Sees every step of a run. The methods do nothing by default, and an unused observer costs nothing: [`crate::Session::run`]
/// passes `()`, whose calls vanish.
pub trait Observer {
    /// Called before step `index` runs.
    #[inline(always)]
    fn before(&mut self, index: usize) {
        let _ = index;
    }

    /// Called after step `index`, with the bytes that it wrote. What is changed here, later steps see: so `verify` feeds
    /// every step with the reference's values and looks at each step's own error.
    #[inline(always)]
    fn after(&mut self, index: usize, output: &mut [u8]) {
        let _ = (index, output);
    }
}

impl Observer for () {}
