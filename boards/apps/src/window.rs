//! The last values of a stream.

use heapless::Deque;

/// The last `N` values of a stream, the oldest first.
///
/// A [`heapless::Deque`] that drops its oldest value when it is full. (`HistoryBuf` does the same, but its index is checked with
/// a panic.)
#[derive(Clone, Debug, Default)]
pub struct Window<T, const N: usize>(Deque<T, N>);

impl<T, const N: usize> Window<T, N> {
    /// Without values.
    pub const fn new() -> Self {
        Window(Deque::new())
    }

    /// Adds a value; the oldest one leaves when there are `N` already.
    pub fn push(&mut self, value: T) {
        if self.0.is_full() {
            self.0.pop_front();
        }
        // Never full here, unless `N` is 0.
        let _ = self.0.push_back(value);
    }

    /// The values, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    /// Whether there are `N` values.
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_value_leaves() {
        let mut window = Window::<u8, 3>::new();
        for value in 1..=2 {
            window.push(value);
        }
        assert!(!window.is_full() && window.iter().eq(&[1, 2]));
        for value in 3..=5 {
            window.push(value);
        }
        assert!(window.is_full() && window.iter().eq(&[3, 4, 5]));
        window.clear();
        assert!(window.iter().next().is_none());
    }
}
