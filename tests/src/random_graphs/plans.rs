//! Every plan of a graph: all targets and packings, plain and fast kernels, bands, coded and sparse weights.

use super::{Case, Difference};
use crate::device::TARGETS;
use crate::random::Random;
use kinglet_export::compile::sparse::Sparse;
use kinglet_export::compile::{
    CompileError, CompileOptions, Compiled, Kernels, StoredWeights, Target, Tiling, compile,
};
use kinglet_export::emulate::{Board, EmulateError, Mode, Request, emulate};
use kinglet_export::graph::{DType, Graph};
use kinglet_export::host::Runner;
use kinglet_export::samples::decode;

/// The emulated boards, by what they are compiled for; those with too little RAM load no plans.
pub const BOARDS: [&str; 6] = [
    "mps2-an386",
    "mps3-an547",
    "mps2-an385",
    "riscv32-virt",
    "mps2-an505",
    "mps2-an500",
];

/// The plans of one graph, by name; the host's is the first.
pub struct Plans(Vec<(String, Compiled)>);

impl Plans {
    /// Compiles `graph` in every way.
    ///
    /// # Errors
    /// The host's compilation is refused.
    pub fn compile(graph: &Graph) -> Result<Plans, CompileError> {
        let options = CompileOptions::default();
        let mut plans = vec![("host".to_owned(), compile(graph, &options)?)];
        for (name, options) in ways() {
            plans.push((name, compile(graph, &options)?));
        }
        Ok(Plans(plans))
    }

    /// How many.
    #[expect(clippy::len_without_is_empty, reason = "the host's is always there")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The host's, with its fast kernels.
    pub fn host(&self) -> &Compiled {
        &self.0[0].1
    }

    /// A runner of the host's plan.
    pub(super) fn runner(&self) -> Runner {
        Runner::new(&self.host().file).expect("compiled plans are checked")
    }

    /// Runs all plans on the case's input, on extreme ones and on another random one.
    pub(super) fn give_the_same_bytes(&self, case: &Case) -> Result<(), Difference> {
        let sample = case.sample();
        let mut samples = vec![sample];
        if case.inputs.iter().all(|i| i.tensor.dtype() != DType::F32) {
            let mut random = Random::new(samples[0].len() as u64);
            let mut of = |choices: [u8; 2]| -> Vec<u8> {
                let one = |_: &u8| random.pick(&choices);
                samples[0].iter().map(one).collect()
            };
            let extremes = [of([0x80; 2]), of([0x7f; 2]), of([0x80, 0x7f])];
            samples.extend(extremes);
        }
        let run = |compiled: &Compiled, sample: &[u8]| {
            let mut runner = Runner::new(&compiled.file).expect("compiled plans are checked");
            runner.run(sample, &mut ()).map_err(|e| Difference {
                between: "a run and its end".into(),
                detail: e.to_string(),
            })
        };
        for sample in &samples {
            let expected = run(self.host(), sample)?;
            for (name, plan) in &self.0[1..] {
                let found = run(plan, sample)?;
                self.same(&expected, &found).map_err(|detail| Difference {
                    between: format!("the plan `{name}` and the host's"),
                    detail,
                })?;
            }
        }
        Ok(())
    }

    /// Runs the plan of a board's core on the board.
    pub(super) fn run_on(
        &self,
        board: &'static Board,
        graph: &Graph,
        case: &Case,
    ) -> Result<(), Difference> {
        let wrong = |detail: String| Difference {
            between: format!("{} and the host", board.name),
            detail,
        };
        let options = CompileOptions {
            target: board.plan_target,
            ..CompileOptions::default()
        };
        let plan = compile(graph, &options).map_err(|e| wrong(e.to_string()))?;
        let sample = case.sample();
        let request = Request {
            board,
            plan: &plan.file,
            samples: std::slice::from_ref(&sample),
            mode: Mode::Run,
            loaded: true,
        };
        let device = match emulate(&request, &|_| {}) {
            Ok(device) => device,
            // A board has less memory than this machine.
            Err(EmulateError::TooLarge { .. }) => return Ok(()),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let expected = self.runner().run(&sample, &mut ());
        let expected = expected.map_err(|e| wrong(e.to_string()))?;
        let lens = expected.iter().map(Vec::len);
        let mut rest = device.outputs.first().map_or(&[][..], Vec::as_slice);
        let found = lens.map_while(|len| {
            let (own, tail) = rest.split_at_checked(len)?;
            rest = tail;
            Some(own.to_vec())
        });
        self.same(&expected, &found.collect::<Vec<_>>())
            .map_err(wrong)
    }

    fn same(&self, expected: &[Vec<u8>], found: &[Vec<u8>]) -> Result<(), String> {
        if expected == found {
            return Ok(());
        }
        let runner = self.runner();
        let plan = runner.plan().map_err(|e| e.to_string())?;
        for (index, (a, b)) in expected.iter().zip(found).enumerate() {
            let Some(info) = plan.output(index) else {
                continue;
            };
            let (a, b) = (decode(info.dtype, a).reals(), decode(info.dtype, b).reals());
            let differs =
                |(a, b): (&f64, &f64)| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan());
            if let Some(i) = a.iter().zip(&b).position(differs) {
                return Err(format!(
                    "`{}`, element {i}: {} for {}",
                    info.name, b[i], a[i]
                ));
            }
        }
        match expected.len() == found.len() {
            true => Ok(()),
            false => Err("the outputs are not as many".into()),
        }
    }
}

/// Every way to compile but the host's own.
fn ways() -> Vec<(String, CompileOptions)> {
    let mut ways = Vec::new();
    let mut add = |name: &str, options: CompileOptions| ways.push((name.to_owned(), options));
    let host = CompileOptions::default();
    add(
        "portable kernels",
        CompileOptions {
            kernels: Kernels::Plain,
            sparse: Sparse::Never,
            keep_dead_channels: true,
            ..host
        },
    );
    add(
        "host, bands",
        CompileOptions {
            tiling: Tiling::Smallest,
            ..host
        },
    );
    for target in TARGETS {
        let options = CompileOptions { target, ..host };
        add(&format!("{target:?}"), options);
    }
    for target in [Target::CortexM0, Target::CortexM4f, Target::CortexM55] {
        let options = CompileOptions {
            target,
            kernels: Kernels::Packed,
            sparse: Sparse::Never,
            tiling: Tiling::Smallest,
            ..host
        };
        add(&format!("{target:?}, packed, bands"), options);
        let weights = StoredWeights::Coded;
        let options = CompileOptions { weights, ..options };
        add(&format!("{target:?}, coded, bands"), options);
        let options = CompileOptions {
            target,
            sparse: Sparse::Always,
            ..host
        };
        add(&format!("{target:?}, sparse"), options);
    }
    ways
}
