//! How long a plan takes on this machine: prints the median microseconds of so many inferences, and with `steps` those of every step.
//!
//! ```text
//! cargo run --release -p kinglet --features std --example time_plan -- model.kinglet 1000 steps
//! ```

use kinglet::{DynSession, Observer, Plan};
use std::error::Error;
use std::time::Instant;
use zerocopy::IntoBytes;

struct Times {
    start: Instant,
    steps: Vec<Vec<u128>>,
}

impl Observer for Times {
    fn before(&mut self, index: usize) {
        if self.steps.len() <= index {
            self.steps.resize(index + 1, Vec::new());
        }
        self.start = Instant::now();
    }

    fn after(&mut self, index: usize, _: &mut [u8]) {
        let time = self.start.elapsed().as_nanos();
        self.steps[index].push(time);
    }
}

fn median(times: &mut [u128]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2] as f64 / 1000.0
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which plan?")?;
    let count: usize = arguments.next().ok_or("how many inferences?")?.parse()?;
    let file = std::fs::read(path)?;
    let mut words = vec![0u128; file.len().div_ceil(16)];
    words.as_mut_bytes()[..file.len()].copy_from_slice(&file);
    let plan = Plan::parse(&words.as_bytes()[..file.len()])?;
    let mut arena = vec![0u128; plan.arena_len().div_ceil(16)];
    let mut session = DynSession::new(plan, arena.as_mut_bytes())?;
    session.self_test()?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let start = Instant::now();
        session.run()?;
        times.push(start.elapsed().as_nanos());
    }
    println!("{:.2}", median(&mut times));
    if arguments.next().is_some() {
        let mut steps = Times {
            start: Instant::now(),
            steps: Vec::new(),
        };
        for _ in 0..count.max(1) {
            session.run_observed(&mut steps)?;
        }
        for (index, times) in steps.steps.iter_mut().enumerate() {
            println!("step {index}: {:.2}", median(times));
        }
    }
    Ok(())
}
