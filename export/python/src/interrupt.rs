//! Ctrl-C in calls that take long.

use pyo3::prelude::*;
use std::time::{Duration, Instant};

/// How often Python is asked.
const PERIOD: Duration = Duration::from_millis(50);

/// Asks Python now and then whether the user wants to stop. Only Python's main thread hears of Ctrl-C.
pub(crate) struct Interrupt {
    next: Instant,
    /// What Python raised, `KeyboardInterrupt` as a rule.
    raised: Option<PyErr>,
}

impl Interrupt {
    pub(crate) fn new() -> Self {
        Interrupt {
            next: Instant::now() + PERIOD,
            raised: None,
        }
    }

    /// Whether to stop, now or since an earlier call.
    pub(crate) fn wanted(&mut self) -> bool {
        if self.raised.is_none() && Instant::now() >= self.next {
            self.raised = Python::attach(|py| py.check_signals()).err();
            self.next = Instant::now() + PERIOD;
        }
        self.raised.is_some()
    }

    /// Remembers what a function of the user's raised.
    pub(crate) fn because(&mut self, error: PyErr) {
        self.raised.get_or_insert(error);
    }

    /// What was raised, as an error.
    pub(crate) fn check(self) -> PyResult<()> {
        self.raised.map_or(Ok(()), Err)
    }
}
