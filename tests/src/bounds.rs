//! How much the instructions of a step depend on its values, measured: what the compiler's table of allowances is made from.

use crate::formats::{in_format, many_valued, thinned};
use crate::networks::{ADD, Builder, everything, window};
use crate::random::Random;
use crate::random_network::{chain, network, sample};
use crate::split_network::split_network;
use crate::ties::with_sums_of;
use crate::wide_network::wide_network;
use kinglet_export::certify::allowance::{Table, units};
use kinglet_export::compile::sparse::Sparse;
use kinglet_export::compile::{CompileOptions, Compiled, Kernels, Tiling, compile};
use kinglet_export::compress::formats::WeightFormat;
use kinglet_export::emulate::{Board, Mode, Request, emulate};
use kinglet_export::graph::{DType, Data, Graph};
use kinglet_export::passes::prepare;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Inputs that are as unlike as can be: one value everywhere (the least, the greatest, those around the middle; of floats also tiny
/// and huge ones), two extremes mixed, and random ones.
pub fn adversarial(graph: &Graph, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    let filled = |byte: u8, real: f32| {
        let mut bytes = Vec::new();
        for &id in &graph.inputs {
            for _ in 0..graph[id].len() {
                match graph[id].dtype {
                    DType::F32 => bytes.extend(real.to_le_bytes()),
                    _ => bytes.push(byte),
                }
            }
        }
        bytes
    };
    let constants = [
        (0x80, -1e6),
        (0x7f, 1e6),
        (0x00, 0.0),
        (0x01, 1.0),
        (0xff, -1.0),
        (0x55, 1e-40),
        (0x20, 0.37),
        (0xd3, -2.6),
    ];
    let mut inputs: Vec<Vec<u8>> = constants.map(|(byte, real)| filled(byte, real)).to_vec();
    // Against nothing: functions of differences.
    for real in [1e-3, 0.37, 1.0, 2.6, 12.0, 87.0, 120.0] {
        for sign in [1.0, -1.0] {
            let zeroes = filled(0, 0.0);
            let mut bytes = filled((real as u8).wrapping_neg(), sign * real);
            bytes[..4.min(zeroes.len())].copy_from_slice(&zeroes[..4.min(zeroes.len())]);
            inputs.push(bytes);
        }
    }
    let mixed = |bytes: &[u8], other: &[u8], random: &mut Random| -> Vec<u8> {
        // Whole words, so that reals stay reals.
        let mut mixed = bytes.to_vec();
        for (to, from) in mixed.chunks_mut(4).zip(other.chunks(4)) {
            if random.one_in(2) {
                to.copy_from_slice(from);
            }
        }
        mixed
    };
    let extremes = mixed(&inputs[0], &inputs[1], &mut random);
    inputs.push(extremes);
    inputs.push(sample(graph, &mut random));
    inputs.push(sample(graph, &mut random));
    inputs
}

/// Plans that differ in constants only, so that they have the same steps.
type Alike = Vec<(Graph, Compiled)>;

fn alike(graphs: Vec<Graph>, board: &Board, kernels: Kernels, sparse: Sparse) -> Alike {
    alike_with(
        graphs,
        &CompileOptions {
            target: board.plan_target,
            kernels,
            sparse,
            ..CompileOptions::default()
        },
    )
}

fn alike_with(graphs: Vec<Graph>, options: &CompileOptions) -> Alike {
    let options = CompileOptions {
        // Ties are of no use where constants are folded.
        keep_dead_channels: true,
        ..*options
    };
    let one = |mut graph: Graph| {
        prepare(&mut graph);
        let compiled = compile(&graph, &options).unwrap();
        (graph, compiled)
    };
    graphs.into_iter().map(one).collect()
}

/// One function of the input each: nothing before it keeps values from the function's branches.
fn functions() -> Vec<Graph> {
    use kinglet_export::graph::{Binary, Clamp, Op, Pool, Unary};
    let mut graphs = Vec::new();
    let mut add = |quantized: bool, op: Op, shape: &[usize], output: &[usize]| {
        let mut b = Builder::new(1, quantized);
        let x = b.input("x", shape, 0.05, 0);
        let y = match op {
            Op::Pool { .. } => b.activation_like(x, output),
            _ => b.activation(output, 0.1, 0),
        };
        let operands = match op {
            Op::Binary { .. } => {
                // The real sum of the input's 1 and this constant's 0, the product of 1 and 1: halves of the output's unit.
                let c = b.activation(&[1], 0.05, 0);
                b.graph[c].data = Some(match quantized {
                    true => Data::I8(vec![if op == ADD { 0 } else { 20 }]),
                    false => Data::F32(vec![0.7]),
                });
                vec![x, c]
            }
            _ => vec![x],
        };
        let y = b.node(op, &operands, y);
        b.graph.outputs.push(y);
        graphs.push(b.graph);
    };
    let row = [1, 16];
    for unary in [
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Unary::HardSwish,
        Unary::Clamp(Clamp { min: 0.1, max: 0.9 }),
        Unary::Sqrt,
        Unary::Exp,
        Unary::Log,
        Unary::Abs,
        Unary::Erf,
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
        Unary::Sign,
        Unary::Sin,
        Unary::Cos,
    ] {
        add(false, Op::Unary(unary), &row, &row);
    }
    let clamp = Clamp::NONE;
    for quantized in [true, false] {
        add(quantized, Op::Softmax { axis: 1 }, &row, &row);
        for op in [Binary::Add, Binary::Sub, Binary::Mul] {
            add(quantized, Op::Binary { op, clamp }, &row, &row);
        }
        let average = Pool::Average {
            count_include_pad: false,
        };
        for pool in [Pool::Max, average] {
            let window = window([2, 2]);
            let pool = Op::Pool { pool, window };
            add(quantized, pool, &[1, 4, 4, 4], &[1, 4, 3, 3]);
        }
    }
    let div = Op::Binary {
        op: Binary::Div,
        clamp,
    };
    add(false, div, &row, &row);
    graphs
}

/// Networks that the table is made from: functions, and `count` of each other kind. Boards that load no plans have few.
pub fn networks(board: &Board, count: u64) -> Vec<Alike> {
    let mut all = Vec::new();
    let mut add = |graphs: Vec<Graph>, kernels, sparse| {
        all.push(alike(graphs, board, kernels, sparse));
    };
    let tied = |graph: &Graph| {
        [2, 0]
            .map(|bias| with_sums_of(graph.clone(), bias))
            .to_vec()
    };
    add(vec![everything(true)], Kernels::Packed, Sparse::Never);
    add(tied(&everything(true)), Kernels::Packed, Sparse::Never);
    for graph in functions() {
        // Each is a firmware of its own where no plans are loaded: floats have no bound there.
        if board.load_len.is_some() || graph[graph.inputs[0]].dtype == DType::I8 {
            add(vec![graph], Kernels::Plain, Sparse::Never);
        }
    }
    add(tied(&everything(true)), Kernels::Plain, Sparse::Never);
    add(tied(&everything(true)), Kernels::Packed, Sparse::Always);
    if board.load_len.is_none() {
        return all;
    }
    add(vec![everything(true)], Kernels::Plain, Sparse::Never);
    add(vec![everything(false)], Kernels::Plain, Sparse::Never);
    for seed in 0..count {
        let wide = wide_network(seed);
        add(vec![wide.clone()], Kernels::Cheapest, Sparse::Never);
        add(tied(&wide), Kernels::Packed, Sparse::Never);
        add(tied(&wide), Kernels::Plain, Sparse::Never);
        add(tied(&split_network(seed)), Kernels::Packed, Sparse::Never);
        add(tied(&wide), Kernels::Packed, Sparse::Always);
        add(
            vec![thinned(wide.clone(), seed)],
            Kernels::Packed,
            Sparse::Always,
        );
        add(vec![many_valued(wide)], Kernels::Packed, Sparse::Never);
        let coded = in_format(wide_network(seed + 500), WeightFormat::Rf8);
        add(vec![coded], Kernels::Packed, Sparse::Never);
        add(vec![network(seed, true)], Kernels::Packed, Sparse::Never);
        add(tied(&network(seed, true)), Kernels::Packed, Sparse::Never);
        add(vec![network(seed, false)], Kernels::Packed, Sparse::Never);
    }
    all
}

/// Chains of steps that run by bands and copy rows, `count` of them with integers and as many with floats; boards that load no plans
/// have one.
pub fn banded(board: &Board, count: u64) -> Vec<Alike> {
    let options = CompileOptions {
        target: board.plan_target,
        tiling: Tiling::Smallest,
        ..CompileOptions::default()
    };
    let loads = board.load_len.is_some();
    let chains = |quantized| {
        let plans = (0..100).map(move |seed| alike_with(vec![chain(seed, quantized)], &options));
        plans.filter(|plans| plans[0].1.steps.iter().any(|step| step.operator == "copy"))
    };
    let count = usize::try_from(count.max(1)).unwrap_or(usize::MAX);
    let floats = chains(false).take(if loads { count } else { 0 });
    chains(true).take(count).chain(floats).collect()
}

/// Largest difference between two runs of one step, for each of its units, by operator.
pub fn spreads(board: &Board, networks: &[Alike]) -> BTreeMap<String, f64> {
    let mut spreads: BTreeMap<String, f64> = BTreeMap::new();
    for alike in networks {
        let mut ends: Vec<[u64; 2]> = Vec::new();
        for (graph, compiled) in alike {
            if compiled.arena_len + board.stack_reserve > board.ram_len {
                continue;
            }
            let samples = adversarial(graph, 1);
            let request = Request {
                board,
                plan: &compiled.file,
                samples: &samples,
                mode: Mode::Profile,
                loaded: board.load_len.is_some(),
            };
            let counts = emulate(&request, &|_| {}).unwrap().step_instructions;
            for counts in &counts {
                ends.resize(counts.len(), [u64::MAX, 0]);
                for (end, &count) in ends.iter_mut().zip(counts) {
                    *end = [end[0].min(count), end[1].max(count)];
                }
            }
        }
        let steps = alike
            .first()
            .map_or(&[][..], |(_, compiled)| &compiled.steps);
        for (step, [least, most]) in steps.iter().zip(&ends) {
            let units = units(step.operator, &step.work).max(1) as f64;
            let spread = ((most - least) as f64 / units * 1e4).round() / 1e4;
            let known = spreads.entry(step.operator.to_owned()).or_default();
            *known = known.max(spread);
        }
    }
    spreads
}

/// Raises a target's part of the table on disk to these; boards' tests run side by side and write one file.
///
/// Measurements that are not `whole` tell nothing of a target that is not in the table yet.
pub fn write(target: String, spreads: BTreeMap<String, f64>, whole: bool) {
    static FILE: Mutex<()> = Mutex::new(());
    let _one = FILE.lock().unwrap();
    let mut table: Table = serde_json::from_str(&fs::read_to_string(path()).unwrap()).unwrap();
    if !whole && !table.contains_key(&target) {
        return;
    }
    let known = table.entry(target).or_default();
    for (operator, spread) in spreads {
        let entry = known.entry(operator).or_default();
        *entry = entry.max(spread);
    }
    fs::write(path(), serde_json::to_string_pretty(&table).unwrap() + "\n").unwrap();
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../export/src/certify/allowance.json")
}
