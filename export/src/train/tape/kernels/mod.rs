//! The loops that training spends its time in.
//!
//! All of them are safe Rust over slices, written so that the compiler finds vector instructions, and compiled once an
//! instruction set by [`vectorized!`]. Every multiplication that is summed is a fused multiply-add and every order of
//! summation is fixed, so results do not depend on the instruction set or on the number of threads.

pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod pad;
pub(crate) mod rows;
pub(crate) mod strided;

/// Defines a function that is compiled for several instruction sets, the best of which is chosen when it is called.
macro_rules! vectorized {
    ($(#[$meta:meta])* fn $name:ident<$lifetime:lifetime, $real:ident>($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        pub(crate) fn $name<$lifetime, $real: $crate::train::tensor::Real>($($arg: $type),*) {
            struct Call<$lifetime, $real> {
                $($arg: $type,)*
            }
            impl<$lifetime, $real: $crate::train::tensor::Real> pulp::NullaryFnOnce for Call<$lifetime, $real> {
                type Output = ();
                #[inline(always)]
                fn call(self) {
                    let Call { $($arg),* } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Call { $($arg),* });
        }
    };
}
pub(crate) use vectorized;

/// How many samples a task takes: enough tasks to balance cores, few enough for a buffer each, and by the shape alone, so
/// that sums are taken in the same order whatever the number of threads.
pub(crate) fn samples_a_task(samples: usize, buffer: usize) -> usize {
    const TASKS: usize = 16;
    const BUFFERED: usize = 1 << 22;
    let tasks = (BUFFERED / buffer.max(1)).clamp(4, TASKS);
    samples.div_ceil(tasks).max(1)
}
