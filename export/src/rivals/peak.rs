//! What the machine could do at most, measured: the yardstick of a model's time.

use cpu_time::ThreadTime;
use kinglet::kernels::peak;

/// Multiply-accumulates a microsecond, on one thread; `None` where there is no loop to measure them with.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    int8: Option<f64>,
    f32: Option<f64>,
}

impl Peak {
    /// The best of some short bursts, so that what else the machine does counts as little as possible.
    pub fn measure() -> Peak {
        Peak {
            int8: best(peak::int8),
            f32: best(peak::f32),
        }
    }

    /// The least microseconds for `operators`, their names and multiply-accumulates, if all of them ran at the peak.
    pub fn microseconds<'o>(
        &self,
        operators: impl IntoIterator<Item = (&'o str, u64)>,
    ) -> Option<f64> {
        let mut all = 0.0;
        for (name, macs) in operators {
            let float = name.contains("f32");
            all += macs as f64 / if float { self.f32? } else { self.int8? };
        }
        Some(all)
    }
}

fn best(rounds: fn(u32) -> Option<u64>) -> Option<f64> {
    const ROUNDS: u32 = 50_000;
    let burst = || {
        let start = ThreadTime::now();
        let macs = rounds(ROUNDS)? as f64;
        let elapsed = start.elapsed().as_nanos().max(1) as f64 / 1000.0;
        Some(macs / elapsed)
    };
    (0..20).filter_map(|_| burst()).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_at_the_peak_add_up() {
        let peak = Peak {
            int8: Some(100.0),
            f32: Some(20.0),
        };
        let operators = [
            ("conv2d int8", 300),
            ("conv2d f32, panels", 40),
            ("softmax f32", 0),
        ];
        assert_eq!(peak.microseconds(operators), Some(5.0));
        let none = Peak { f32: None, ..peak };
        assert_eq!(none.microseconds(operators), None);
        assert_eq!(none.microseconds([("conv2d int8", 300)]), Some(3.0));
    }
}
