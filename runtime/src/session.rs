//! A plan with its memory: sets inputs, runs, reads outputs.

use crate::arena::{part, part_mut};
use crate::error::{RunError, SessionError};
use crate::execute::execute;
use crate::format::{ALIGNMENT, ALL_OPS, CRC, DType};
use crate::observe::Observer;
use crate::plan::Plan;

/// A plan ready to run in an arena.
///
/// `OPS` is the set of operators that are linked in ([`crate::OpCode::bit`]); code for others is dead to the linker.
/// [`crate::model!`] computes it from the plan, [`DynSession`] has all.
#[derive(Debug)]
pub struct Session<'p, 'a, const OPS: u128> {
    plan: Plan<'p>,
    arena: &'a mut [u8],
}

/// A session that runs any plan.
pub type DynSession<'p, 'a> = Session<'p, 'a, ALL_OPS>;

impl<'p, 'a, const OPS: u128> Session<'p, 'a, OPS> {
    /// Puts `plan` to work in `arena`, which may be longer than [`Plan::arena_len`].
    ///
    /// # Errors
    /// The arena is too small or misaligned, or the plan uses operators outside `OPS`.
    pub fn new(plan: Plan<'p>, arena: &'a mut [u8]) -> Result<Self, SessionError> {
        match plan.op_set() & !OPS {
            0 => Self::linked(plan, arena),
            missing => Err(SessionError::OperatorNotLinked { missing }),
        }
    }

    /// As [`new`](Self::new), for the plan whose own set of operators is `OPS`: what [`model!`](crate::model) calls. An operator
    /// that is not linked in makes [`run`](Self::run) fail.
    ///
    /// # Errors
    /// The arena is too small or misaligned.
    pub fn linked(plan: Plan<'p>, arena: &'a mut [u8]) -> Result<Self, SessionError> {
        let needed = plan.arena_len();
        let given = arena.len();
        if !(arena.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
            return Err(SessionError::ArenaMisaligned);
        }
        let arena = arena.get_mut(..needed).ok_or(SessionError::ArenaTooSmall {
            needed: needed as u32,
            given: given as u32,
        })?;
        Ok(Session { plan, arena })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan<'p> {
        &self.plan
    }

    /// The bytes of input `index`, to be written before each [`run`](Self::run): a run may overwrite them.
    pub fn input_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        part_mut(self.arena, self.plan.input_record(index)?.arena)
    }

    /// The bytes of output `index`, valid after a run and until an input is written.
    pub fn output(&self, index: usize) -> Option<&[u8]> {
        part(self.arena, self.plan.output_record(index)?.arena)
    }

    /// Runs all steps.
    ///
    /// # Errors
    /// None for a parsed plan; see [`RunError::Step`].
    pub fn run(&mut self) -> Result<(), RunError> {
        self.run_observed(&mut ())
    }

    /// Runs all steps and shows each to `observer`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_observed(&mut self, observer: &mut impl Observer) -> Result<(), RunError> {
        let data = self.plan.data();
        for (index, step) in self.plan.steps().enumerate() {
            observer.before(index);
            let failed = RunError::Step {
                index: index as u32,
            };
            execute::<OPS>(&step, data, self.arena).ok_or(failed)?;
            observer.after(index, part_mut(self.arena, step.output).ok_or(failed)?);
        }
        Ok(())
    }

    /// Runs the plan's power-on self-test: an input made from the seed in the plan, whose output digest the compiler
    /// recorded. Overwrites inputs and outputs.
    ///
    /// # Errors
    /// [`RunError::SelfTest`] when this target computes something else than the compiler's host did.
    pub fn self_test(&mut self) -> Result<(), RunError> {
        let (seed, expected) = self.plan.self_test();
        let found = self.self_test_digest(seed)?;
        if found == expected {
            Ok(())
        } else {
            Err(RunError::SelfTest { expected, found })
        }
    }

    /// The digest that [`self_test`](Self::self_test) compares: CRC-32 over all outputs for the input made from `seed`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn self_test_digest(&mut self, seed: u32) -> Result<u32, RunError> {
        let mut random = XorShift(seed | 1);
        for index in 0..self.plan.input_count() {
            let missing = RunError::Input {
                index: index as u16,
            };
            let info = self.plan.input(index).ok_or(missing)?;
            random.fill(info.dtype, self.input_mut(index).ok_or(missing)?);
        }
        self.run()?;
        let mut digest = CRC.digest();
        for index in 0..self.plan.output_count() {
            digest.update(self.output(index).ok_or(RunError::Output {
                index: index as u16,
            })?);
        }
        Ok(digest.finalize())
    }

    /// Bytes of input `index`.
    pub(crate) fn input_len(&self, index: usize) -> Option<usize> {
        Some(self.plan.input_record(index)?.arena.len.get() as usize)
    }
}

/// Marsaglia's xorshift32.
struct XorShift(u32);

impl XorShift {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// Bytes at random; floats in `0 .. 1`, integers up to 255.
    fn fill(&mut self, dtype: DType, bytes: &mut [u8]) {
        match dtype {
            DType::I8 | DType::U8 => {
                for byte in bytes {
                    *byte = (self.next() >> 24) as u8;
                }
            }
            DType::I32 => {
                for word in bytes.as_chunks_mut().0 {
                    *word = (self.next() >> 24).to_le_bytes();
                }
            }
            DType::F32 => {
                for word in bytes.as_chunks_mut().0 {
                    *word = ((self.next() >> 8) as f32 / 16_777_216.0).to_le_bytes();
                }
            }
        }
    }
}
