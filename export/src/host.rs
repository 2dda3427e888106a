//! Plans on this machine: aligned memory and a runner over [`kinglet::DynSession`].

use kinglet::{DynSession, Observer, Plan, PlanError, RunError, SessionError, TensorInfo};
use std::num::NonZeroUsize;
use zerocopy::IntoBytes;

/// Bytes that start at a multiple of 16, as plans and arenas must.
#[derive(Clone, Debug)]
pub struct AlignedBytes {
    words: Vec<u128>,
    len: usize,
}

impl AlignedBytes {
    /// `len` zeroes.
    pub fn zeroed(len: usize) -> Self {
        AlignedBytes {
            words: vec![0; len.div_ceil(16)],
            len,
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.words.as_bytes()[..self.len]
    }

    /// The bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.words.as_mut_bytes()[..self.len]
    }
}

impl From<&[u8]> for AlignedBytes {
    fn from(bytes: &[u8]) -> Self {
        let mut aligned = AlignedBytes::zeroed(bytes.len());
        aligned.bytes_mut().copy_from_slice(bytes);
        aligned
    }
}

/// Why a plan does not run here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The bytes are no valid plan.
    #[error("not a valid plan: {0}")]
    Plan(#[from] PlanError),
    /// The session does not start.
    #[error("the plan cannot start: {0}")]
    Session(#[from] SessionError),
    /// A step failed.
    #[error("the plan stopped: {0}")]
    Run(#[from] RunError),
    /// An input has another size than the plan says.
    #[error("input `{name}` takes {expected} bytes, {found} were given")]
    InputLength {
        /// The input.
        name: String,
        /// Bytes the plan says.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
}

/// A plan with its own memory.
#[derive(Clone, Debug)]
pub struct Runner {
    plan: AlignedBytes,
    arena: AlignedBytes,
}

impl Runner {
    /// Checks `plan` and makes an arena for it.
    ///
    /// # Errors
    /// The bytes are no valid plan.
    pub fn new(plan: &[u8]) -> Result<Runner, HostError> {
        let plan = AlignedBytes::from(plan);
        let arena = AlignedBytes::zeroed(Plan::parse(plan.bytes())?.arena_len());
        Ok(Runner { plan, arena })
    }

    /// The plan.
    ///
    /// # Errors
    /// None in practice: it was checked when the runner was made.
    pub fn plan(&self) -> Result<Plan<'_>, HostError> {
        Ok(Plan::parse(self.plan.bytes())?)
    }

    /// The plan's self-test on this machine; see [`kinglet::Session::self_test`].
    ///
    /// # Errors
    /// [`HostError::Run`] when it fails.
    pub fn self_test(&mut self) -> Result<(), HostError> {
        Ok(self.start()?.session.self_test()?)
    }

    /// Digest of the plan's self-test on this machine; see [`kinglet::Session::self_test_digest`].
    ///
    /// # Errors
    /// None for a valid plan.
    pub fn self_test_digest(&mut self, seed: u32) -> Result<u32, HostError> {
        let plan = Plan::parse(self.plan.bytes())?;
        Ok(DynSession::new(plan, self.arena.bytes_mut())?.self_test_digest(seed)?)
    }

    /// One inference: the bytes of all inputs back to back in, those of each output out.
    ///
    /// # Errors
    /// The input has the wrong length.
    pub fn run(
        &mut self,
        inputs: &[u8],
        observer: &mut impl Observer,
    ) -> Result<Vec<Vec<u8>>, HostError> {
        self.start()?.run(inputs, observer)
    }

    /// Many inferences: for each sample the bytes of each output. Samples that hold no states have those of the run before; the
    /// first begins with zeroes.
    ///
    /// # Errors
    /// A sample has the wrong length.
    pub fn run_all<'s>(
        &mut self,
        samples: impl IntoIterator<Item = &'s [u8]>,
        observer: &mut impl Observer,
    ) -> Result<Vec<Vec<Vec<u8>>>, HostError> {
        let mut started = self.start()?;
        let samples = samples.into_iter();
        samples.map(|s| started.run(s, observer)).collect()
    }

    /// As [`Runner::run_all`], the samples shared out among up to `threads` threads with an arena each: the outputs are the same
    /// for any number. A plan with states runs on one, since its samples depend on those before.
    ///
    /// # Errors
    /// A sample has the wrong length.
    pub fn run_on_threads(
        &mut self,
        samples: &[&[u8]],
        threads: NonZeroUsize,
    ) -> Result<Vec<Vec<Vec<u8>>>, HostError> {
        let plan = self.plan()?;
        let mut inputs = (0..plan.input_count()).filter_map(|i| plan.input(i));
        let has_states = inputs.any(|info| info.state > 0);
        let share = samples.len().div_ceil(threads.get()).max(1);
        if has_states || share >= samples.len() {
            return self.run_all(samples.iter().copied(), &mut ());
        }
        let arena_len = plan.arena_len();
        let bytes = &self.plan;
        let work = |samples: &[&[u8]]| {
            let mut arena = AlignedBytes::zeroed(arena_len);
            let mut started = Started::new(bytes, &mut arena)?;
            let outputs = samples.iter().map(|s| started.run(s, &mut ()));
            outputs.collect::<Result<Vec<_>, HostError>>()
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let shares = samples.chunks(share);
            let work = &work;
            let handles: Vec<_> = shares.map(|s| scope.spawn(move || work(s))).collect();
            let joined = handles.into_iter().map(|h| match h.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect()
        });
        let shares = results.into_iter().collect::<Result<Vec<_>, HostError>>()?;
        Ok(shares.into_iter().flatten().collect())
    }

    /// Checks the plan and begins with states of zeroes; what follows is nothing but inferences.
    ///
    /// # Errors
    /// None in practice: the plan was checked when the runner was made.
    pub fn start(&mut self) -> Result<Started<'_>, HostError> {
        Started::new(&self.plan, &mut self.arena)
    }
}

/// A plan at work, see [`Runner::start`].
pub struct Started<'r> {
    session: DynSession<'r, 'r>,
    inputs: Vec<TensorInfo<'r>>,
}

impl<'r> Started<'r> {
    fn new(plan: &'r AlignedBytes, arena: &'r mut AlignedBytes) -> Result<Started<'r>, HostError> {
        let plan = Plan::parse(plan.bytes())?;
        let mut session = DynSession::new(plan, arena.bytes_mut())?;
        let inputs = 0..plan.input_count();
        let inputs: Vec<_> = inputs.filter_map(|i| plan.input(i)).collect();
        for (index, _) in inputs.iter().enumerate().filter(|(_, info)| info.state > 0) {
            if let Some(state) = session.input_mut(index) {
                state.fill(0);
            }
        }
        Ok(Started { session, inputs })
    }

    /// As [`Runner::run`], with the states of the run before unless the sample holds some.
    ///
    /// # Errors
    /// The sample has the wrong length.
    pub fn run(
        &mut self,
        sample: &[u8],
        observer: &mut impl Observer,
    ) -> Result<Vec<Vec<u8>>, HostError> {
        let no_states = self.inputs.iter().filter(|i| i.state == 0);
        let without_states: usize = no_states.map(|i| i.len).sum();
        let mut rest = sample;
        for (index, info) in self.inputs.iter().enumerate() {
            if info.state > 0 && sample.len() == without_states {
                continue;
            }
            let wrong = HostError::InputLength {
                name: info.name.into(),
                expected: info.len,
                found: rest.len(),
            };
            let (bytes, tail) = rest.split_at_checked(info.len).ok_or(wrong)?;
            if let Some(input) = self.session.input_mut(index) {
                input.copy_from_slice(bytes);
            }
            rest = tail;
        }
        if !rest.is_empty() {
            return Err(HostError::InputLength {
                name: "all".into(),
                expected: sample.len() - rest.len(),
                found: sample.len(),
            });
        }
        self.session.run_observed(observer)?;
        let outputs = 0..self.session.plan().output_count();
        let outputs = outputs.filter_map(|i| self.session.output(i).map(<[u8]>::to_vec));
        Ok(outputs.collect())
    }
}
