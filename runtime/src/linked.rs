//! Plans that are linked in: [`model!`](crate::model).

use crate::error::RunError;
use crate::observe::Observer;
use crate::session::Session;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

impl<const OPS: u128> Session<'_, '_, OPS> {
    /// Copies `input` in, runs, and returns the first output: for plans with one input. What
    /// [`model!`](crate::model)'s `run` calls, with the types filled in.
    ///
    /// # Errors
    /// A length differs from the plan's, or the plan has several inputs.
    pub fn run_typed<I, O>(
        &mut self,
        input: &[I],
        observer: &mut impl Observer,
    ) -> Result<&[O], RunError>
    where
        I: IntoBytes + Immutable,
        O: FromBytes + Immutable + KnownLayout,
    {
        let input = input.as_bytes();
        let wrong = RunError::Input { index: 0 };
        if self.plan().input_count() != 1 || self.input_len(0) != Some(input.len()) {
            return Err(wrong);
        }
        for (to, from) in self.input_mut(0).ok_or(wrong)?.iter_mut().zip(input) {
            *to = *from;
        }
        self.run_observed(observer)?;
        let wrong = RunError::Output { index: 0 };
        <[O]>::ref_from_bytes(self.output(0).ok_or(wrong)?).map_err(|_| wrong)
    }
}

/// Links a plan in: `kinglet::model!(pub Kws, "kws.kinglet");` (the path is relative to the source file, as for
/// `include_bytes!`).
///
/// Makes a type with
/// - `Kws::PLAN`: the bytes, in flash; `Kws::OPS`: the operators used, and only those are linked;
/// - `Kws::ARENA_LEN` and `Kws::arena()`: the memory it needs;
/// - `Kws::new(&mut arena)`: checks the plan's checksum and returns a `Kws`;
/// - `kws.run(&[…])`: from an array of the input's type and length to one of the output's (models with one input;
///   the first output);
/// - `kws.session()`: everything else.
///
/// A file that is no plan, is cut off or has another format version is a compile error.
#[macro_export]
macro_rules! model {
    ($visibility:vis $name:ident, $path:expr) => {
        /// A linked-in Kinglet plan.
        $visibility struct $name<'a>($crate::Session<'static, 'a, { $crate::header::op_set(include_bytes!($path)) }>);

        #[allow(dead_code)]
        impl<'a> $name<'a> {
            /// The plan's bytes.
            pub const PLAN: &'static [u8] = {
                const LEN: usize = $crate::header::core_len(include_bytes!($path));
                static PLAN: $crate::Aligned<[u8; LEN]> =
                    $crate::Aligned($crate::header::checked_plan(include_bytes!($path)));
                &PLAN.0
            };
            /// Operators that are linked in.
            pub const OPS: u128 = $crate::header::op_set(include_bytes!($path));
            /// Bytes of arena.
            pub const ARENA_LEN: usize = $crate::header::arena_len(include_bytes!($path));

            /// An arena of the right size, usable in a `static`.
            pub const fn arena() -> $crate::Arena<{ $crate::header::arena_len(include_bytes!($path)) }> {
                $crate::Arena::new()
            }

            /// Checks the plan's checksum and puts it to work in `arena`.
            ///
            /// # Errors
            /// The plan is damaged, or the arena is smaller than [`Self::ARENA_LEN`].
            pub fn new<const N: usize>(arena: &'a mut $crate::Arena<N>) -> Result<Self, $crate::SessionError> {
                let plan = $crate::Plan::linked(Self::PLAN)?;
                Ok(Self($crate::Session::linked(plan, arena.bytes_mut())?))
            }

            /// The session, for several inputs or outputs, observers and the self-test.
            pub fn session(
                &mut self,
            ) -> &mut $crate::Session<'static, 'a, { $crate::header::op_set(include_bytes!($path)) }> {
                &mut self.0
            }

            /// One inference.
            ///
            /// # Errors
            /// The model has several inputs: use [`Self::session`].
            #[allow(clippy::type_complexity)]
            pub fn run(
                &mut self,
                input: &[<$crate::element::Code<{ $crate::header::dtype(include_bytes!($path), 0) }>
                    as $crate::element::Element>::Type; $crate::header::elements(include_bytes!($path), 0)],
            ) -> Result<
                &[<$crate::element::Code<{
                    $crate::header::dtype(include_bytes!($path), $crate::header::input_count(include_bytes!($path)))
                }> as $crate::element::Element>::Type],
                $crate::RunError,
            > {
                self.0.run_typed(input, &mut ())
            }
        }
    };
}
