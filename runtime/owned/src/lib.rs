//! A plan together with its memory, for bindings to languages that know no borrows. Opening checks the plan once and takes all memory
//! that it will ever need; a run takes none.

use kinglet::{DynSession, Plan, PlanError, RunError, SessionError, TensorInfo};
use self_cell::{MutBorrow, self_cell};
use zerocopy::IntoBytes;

/// Why a model does not open or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The bytes are no valid plan.
    #[error("not a valid plan: {0}")]
    Plan(#[from] PlanError),
    /// The session does not start.
    #[error("the plan cannot start: {0}")]
    Session(#[from] SessionError),
    /// There is not enough memory.
    #[error("the model needs {bytes} bytes of memory, which there are not")]
    Memory {
        /// Bytes of the plan or of the arena.
        bytes: usize,
    },
    /// There is no such input or output.
    #[error("there is no {what} {index}: the model has {count}")]
    Index {
        /// `input` or `output`.
        what: &'static str,
        /// The index asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
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
    /// A step failed, which no plan of the compiler's does.
    #[error("the plan stopped: {0}")]
    Run(#[from] RunError),
}

/// Bytes that start at a multiple of 16, as plans and arenas must.
struct Memory {
    words: Vec<u128>,
    len: usize,
}

impl Memory {
    fn zeroed(len: usize) -> Result<Memory, ModelError> {
        let count = len.div_ceil(size_of::<u128>());
        let mut words = Vec::new();
        words
            .try_reserve_exact(count)
            .map_err(|_| ModelError::Memory { bytes: len })?;
        words.resize(count, 0);
        Ok(Memory { words, len })
    }

    fn bytes(&self) -> &[u8] {
        self.words.as_bytes().get(..self.len).unwrap_or_default()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let bytes = self.words.as_mut_bytes();
        bytes.get_mut(..self.len).unwrap_or_default()
    }
}

/// What a session borrows.
struct Held {
    plan: Memory,
    arena: MutBorrow<Memory>,
}

type Running<'held> = DynSession<'held, 'held>;

self_cell!(
    struct Cell {
        owner: Held,
        #[covariant]
        dependent: Running,
    }
);

/// A model ready to run, by one thread at a time. It keeps its states from run to run.
pub struct Model {
    cell: Cell,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").finish_non_exhaustive()
    }
}

impl Model {
    /// Copies and checks `plan`. States begin with zeroes.
    ///
    /// # Errors
    /// The bytes are no valid plan, or there is not enough memory.
    pub fn open(plan: &[u8]) -> Result<Model, ModelError> {
        let mut stored = Memory::zeroed(plan.len())?;
        stored.bytes_mut().copy_from_slice(plan);
        let arena = Memory::zeroed(Plan::parse(stored.bytes())?.arena_len())?;
        let held = Held {
            plan: stored,
            arena: MutBorrow::new(arena),
        };
        let cell = Cell::try_new(held, |held| {
            let plan = Plan::parse(held.plan.bytes())?;
            let session = DynSession::new(plan, held.arena.borrow_mut().bytes_mut())?;
            Ok::<_, ModelError>(session)
        })?;
        Ok(Model { cell })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan<'_> {
        self.cell.borrow_dependent().plan()
    }

    /// All inputs, in order.
    pub fn inputs(&self) -> impl Iterator<Item = TensorInfo<'_>> {
        let plan = self.plan();
        (0..plan.input_count()).filter_map(|index| plan.input(index))
    }

    /// All outputs, in order.
    pub fn outputs(&self) -> impl Iterator<Item = TensorInfo<'_>> {
        let plan = self.plan();
        (0..plan.output_count()).filter_map(|index| plan.output(index))
    }

    /// Copies `bytes` to input `index`, all of it, in the order of its shape. Each run needs all inputs anew, but for states.
    ///
    /// # Errors
    /// There is no such input, or it has another length.
    pub fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<(), ModelError> {
        let count = self.plan().input_count();
        let missing = ModelError::Index {
            what: "input",
            index,
            count,
        };
        let info = self.plan().input(index).ok_or(missing)?;
        if info.len != bytes.len() {
            return Err(ModelError::InputLength {
                name: info.name.to_owned(),
                expected: info.len,
                found: bytes.len(),
            });
        }
        self.cell.with_dependent_mut(|_, session| {
            if let Some(input) = session.input_mut(index) {
                input.copy_from_slice(bytes);
            }
        });
        Ok(())
    }

    /// Computes the outputs of the inputs that were set.
    ///
    /// # Errors
    /// A step failed, which no plan of the compiler's does.
    pub fn run(&mut self) -> Result<(), ModelError> {
        Ok(self.cell.with_dependent_mut(|_, session| session.run())?)
    }

    /// The bytes of output `index`, until an input is set.
    ///
    /// # Errors
    /// There is no such output.
    pub fn output(&self, index: usize) -> Result<&[u8], ModelError> {
        let missing = || ModelError::Index {
            what: "output",
            index,
            count: self.plan().output_count(),
        };
        self.cell
            .borrow_dependent()
            .output(index)
            .ok_or_else(missing)
    }

    /// Sets all states to zeroes, as they are when a model is opened.
    pub fn reset(&mut self) {
        self.cell.with_dependent_mut(|_, session| {
            for index in 0..session.plan().input_count() {
                let state = session.plan().input(index).is_some_and(|i| i.state > 0);
                if let Some(bytes) = session.input_mut(index).filter(|_| state) {
                    bytes.fill(0);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_runs_with_its_own_memory_wherever_it_is_moved() {
        let mut model = Model::open(&kinglet::doc_plan()).unwrap();
        assert_eq!(model.inputs().map(|i| i.len).collect::<Vec<_>>(), [4]);
        model.set_input(0, &[1, 250, 3, 128]).unwrap();
        let mut moved = Box::new(model);
        moved.run().unwrap();
        assert_eq!(moved.output(0).unwrap(), [1, 250, 3, 128]);
        let sent = std::thread::spawn(move || moved.output(0).unwrap().to_vec());
        assert_eq!(sent.join().unwrap(), [1, 250, 3, 128]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut model = Model::open(&kinglet::doc_plan()).unwrap();
        let error = model.set_input(0, &[1]).unwrap_err().to_string();
        assert!(error.contains("takes 4 bytes, 1 were given"), "{error}");
        let error = model.set_input(1, &[1]).unwrap_err().to_string();
        assert!(error.contains("no input 1"), "{error}");
        let mut damaged = kinglet::doc_plan().to_vec();
        damaged[40] ^= 1;
        let error = Model::open(&damaged).unwrap_err();
        assert!(matches!(error, ModelError::Plan(_)), "{error}");
    }
}
