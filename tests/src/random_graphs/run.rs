//! Many graphs, what they did, and reproducers of what differs.

use super::{BOARDS, Case, OnnxRuntime, Others, Outcome, case, minimize, try_out};
use kinglet::format::DType;
use kinglet_export::emulate::board;
use kinglet_export::report::{grouped, terminal_table};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What one operator of the runtime did over all graphs, against ONNX Runtime.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Steps compared.
    pub steps: u64,
    /// Elements compared.
    pub elements: u64,
    /// Elements that differ: by any amount for integers, by more than 10⁻⁴ of the largest for floats.
    pub different: u64,
    /// Largest difference: in units for integers, relative for floats.
    pub largest: f64,
}

/// All graphs of a run.
#[derive(Debug, Default)]
pub struct Summary {
    /// Graphs by what the generator calls them, and how many of each were refused.
    pub kinds: BTreeMap<&'static str, [u64; 2]>,
    /// By the runtime's operators.
    pub operators: BTreeMap<&'static str, Row>,
    /// How many nodes of each of ONNX's operators there were.
    pub nodes: BTreeMap<String, u64>,
    /// Plans that were run.
    pub plans: u64,
    /// Graphs that ran on an emulated board, too.
    pub emulated: u64,
    /// Graphs that tract agrees about, and that it is alone with.
    pub tract: [u64; 2],
    /// What tract says where it is alone.
    pub tract_alone: BTreeMap<String, u64>,
    /// Refusals of ours with the seeds.
    pub refused: BTreeMap<String, Vec<u64>>,
    /// Models that ONNX Runtime refuses: defects of the generator.
    pub invalid: BTreeMap<String, Vec<u64>>,
    /// Seeds that differ, with what differs.
    pub differing: Vec<(u64, String)>,
    /// What int8 steps' elements were in all: compared, different.
    pub int8: [u64; 2],
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The first seed.
    pub seed: u64,
    /// How many.
    pub count: u64,
    /// Every so many graphs one runs on an emulated board as well; 0 for none.
    pub emulate_every: u64,
    /// tract is asked about every so many graphs; 0 for none.
    pub tract_every: u64,
    /// Where reproducers are written.
    pub reproducers: PathBuf,
}

impl Run {
    /// Tries all graphs; `progress` is told after each.
    ///
    /// # Errors
    /// ONNX Runtime does not start, or a reproducer cannot be written.
    pub fn run(&self, mut progress: impl FnMut(u64, &Summary)) -> Result<Summary, String> {
        let mut runtime = OnnxRuntime::start()?;
        let mut summary = Summary::default();
        for seed in self.seed..self.seed + self.count {
            let case = case(seed);
            let turn = |every: u64| (every > 0 && seed.is_multiple_of(every)).then(|| seed / every);
            let name = |turn: u64| BOARDS[turn as usize % BOARDS.len()];
            let others = Others {
                board: turn(self.emulate_every).map(|turn| board(name(turn)).expect("a board")),
                tract: turn(self.tract_every).is_some(),
            };
            summary.emulated += u64::from(others.board.is_some());
            let outcome = try_out(&case, &mut runtime, others);
            if let Outcome::Differs(difference) = &outcome {
                let small = smallest(&case, &difference.between, &mut runtime, others);
                self.write(seed, &case, &small, &mut runtime, others)
                    .map_err(|e| e.to_string())?;
            }
            summary.add(seed, &case, outcome);
            progress(seed, &summary);
        }
        Ok(summary)
    }

    fn write(
        &self,
        seed: u64,
        whole: &Case,
        small: &Case,
        runtime: &mut OnnxRuntime,
        others: Others,
    ) -> std::io::Result<()> {
        let folder = self.reproducers.join(format!("seed-{seed}"));
        let Outcome::Differs(difference) = try_out(small, runtime, others) else {
            return Ok(());
        };
        let text = format!(
            "Between: {}\nWhere: {}\nNodes left: {}\n\nFrom seed {seed} ({}), which has {} nodes:\n\n    \
             cargo run --release -p kinglet-tests --bin random-graphs -- --seed {seed} --count 1\n\n\
             model.onnx is what is left of it, input_0.npy … are its inputs in their order:\n\n    \
             cargo run --release -p kinglet-tests --bin random-graphs -- --reproduce {}\n",
            difference.between,
            difference.detail,
            small.operators().join(", "),
            whole.kind,
            whole.operators().len(),
            folder.display(),
        );
        small.write(&folder, &text)
    }
}

/// The smallest case in which the same two differ.
fn smallest(case: &Case, between: &str, runtime: &mut OnnxRuntime, others: Others) -> Case {
    // Both closures need the one process.
    let runtime = std::cell::RefCell::new(runtime);
    minimize(
        case,
        |case| runtime.borrow_mut().values(case).unwrap_or_default(),
        |case| {
            let outcome = try_out(case, *runtime.borrow_mut(), others);
            matches!(outcome, Outcome::Differs(d) if d.between == between)
        },
    )
}

/// Tries a reproducer again; what differs, if anything does.
///
/// # Errors
/// It cannot be read, or ONNX Runtime does not start.
pub fn reproduce(folder: &Path) -> Result<Option<super::Difference>, String> {
    use kinglet_export::files::read_tensor;
    use prost::Message;
    let bytes = std::fs::read(folder.join("model.onnx")).map_err(|e| e.to_string())?;
    let model = tract_onnx::pb::ModelProto::decode(bytes.as_slice()).map_err(|e| e.to_string())?;
    let names = model.graph.iter().flat_map(|g| &g.input).enumerate();
    let input = |(index, info): (usize, &tract_onnx::pb::ValueInfoProto)| {
        let tensor = read_tensor(folder.join(format!("input_{index}.npy")));
        Ok(super::Input {
            name: info.name.clone(),
            tensor: tensor.map_err(|e| e.to_string())?,
        })
    };
    let inputs = names.map(input).collect::<Result<Vec<_>, String>>()?;
    let case = Case {
        kind: "a reproducer",
        model,
        inputs,
    };
    match try_out(&case, &mut OnnxRuntime::start()?, Others::default()) {
        Outcome::Differs(difference) => Ok(Some(difference)),
        Outcome::Agrees(_) => Ok(None),
        Outcome::Refused(why) | Outcome::Invalid(why) => Err(why),
    }
}

impl Summary {
    fn add(&mut self, seed: u64, case: &Case, outcome: Outcome) {
        let kind = self.kinds.entry(case.kind).or_default();
        kind[0] += 1;
        match outcome {
            Outcome::Refused(why) => {
                kind[1] += 1;
                self.refused.entry(why).or_default().push(seed);
            }
            Outcome::Invalid(why) => self.invalid.entry(why).or_default().push(seed),
            Outcome::Differs(d) => {
                let what = format!("{}: {}", d.between, d.detail);
                self.differing.push((seed, what));
            }
            Outcome::Agrees(agreement) => {
                for op in case.operators() {
                    *self.nodes.entry(op.to_owned()).or_default() += 1;
                }
                self.plans += agreement.plans as u64;
                for (operator, dtype, comparison) in agreement.steps {
                    let row = self.operators.entry(operator).or_default();
                    row.steps += u64::from(comparison.elements > 0);
                    row.elements += comparison.elements;
                    row.different += comparison.different;
                    row.largest = row.largest.max(comparison.largest);
                    if dtype == DType::I8 {
                        self.int8[0] += comparison.elements;
                        self.int8[1] += comparison.different;
                    }
                }
                match agreement.tract {
                    Some(Ok(())) => self.tract[0] += 1,
                    Some(Err(why)) => {
                        self.tract[1] += 1;
                        let between = why.split(':').next().unwrap_or(&why);
                        *self.tract_alone.entry(between.to_owned()).or_default() += 1;
                    }
                    None => {}
                }
            }
        }
    }

    /// Graphs tried.
    pub fn graphs(&self) -> u64 {
        self.kinds.values().map(|[all, _]| all).sum()
    }

    /// Share of int8 elements that equal ONNX Runtime's.
    pub fn int8_equal(&self) -> f64 {
        1.0 - self.int8[1] as f64 / self.int8[0].max(1) as f64
    }

    /// Tables for people.
    pub fn text(&self) -> String {
        let count =
            |seeds: &BTreeMap<String, Vec<u64>>| seeds.values().map(Vec::len).sum::<usize>();
        let mut text = format!(
            "{} graphs, {} plans, {} of them on emulated boards: {} differ, {} refused by us, {} invalid\n\
             int8: {} elements, {:.4} % equal to ONNX Runtime's\n\
             tract: agrees about {}, is alone with {}\n",
            grouped(self.graphs()),
            grouped(self.plans),
            self.emulated,
            self.differing.len(),
            count(&self.refused),
            count(&self.invalid),
            grouped(self.int8[0]),
            100.0 * self.int8_equal(),
            self.tract[0],
            self.tract[1],
        );
        let kinds = self.kinds.iter().map(|(kind, [all, refused])| {
            vec![(*kind).to_owned(), grouped(*all), grouped(*refused)]
        });
        let kinds: Vec<Vec<String>> = kinds.collect();
        text += &format!(
            "{}\n",
            terminal_table(&["kind", "graphs", "refused"], &kinds)
        );
        let rows = self.operators.iter().map(|(operator, row)| {
            vec![
                (*operator).to_owned(),
                grouped(row.steps),
                grouped(row.elements),
                grouped(row.different),
                format!("{:.1e}", row.largest),
            ]
        });
        let headers = ["operator", "steps", "elements", "different", "largest"];
        text += &format!("{}\n", terminal_table(&headers, &rows.collect::<Vec<_>>()));
        let nodes: Vec<String> = self
            .nodes
            .iter()
            .map(|(op, n)| format!("{op} {n}"))
            .collect();
        text += &format!("nodes: {}\n", nodes.join(", "));
        for (why, n) in &self.tract_alone {
            text += &format!("tract alone, {n} times: {why}\n");
        }
        for (what, seeds) in [("refused", &self.refused), ("invalid", &self.invalid)] {
            for (why, seeds) in seeds {
                text += &format!(
                    "{what}, {} times, first seed {}: {why}\n",
                    seeds.len(),
                    seeds[0]
                );
            }
        }
        for (seed, what) in &self.differing {
            text += &format!("differs, seed {seed}: {what}\n");
        }
        text
    }
}
