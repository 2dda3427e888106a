//! `gate`: modules decide on blocks or channels while training, agree, and go with what they have closed.

mod operations;

use super::session::{Session, pieces, whole};
use super::{Product, StageError};
use crate::compress::gate::{
    Block, ChannelUnit, Consensus, GateModule, Phase, assert_no_gates, blocks, channel_units,
    consensus_rate, guarded, loss, remove_blocks,
};
use crate::compress::mask::{Channels, Selection, cut_gated};
use crate::compress::recipe::{Gate, GateUnits};
use crate::data::batches::plain;
use crate::graph::{Graph, Op, ValueId};
use crate::train::evaluate::evaluate;
use crate::train::method::{Method, Moment, Term};
use crate::train::tape::{Kind, Mode, Program, Tensor, stored_shape};
use operations::{Gates, Multiply, State};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// Samples of a batch of the read-off.
const BATCH: usize = 250;

/// What can be closed: a value, what its module looks at, and multiply-accumulates of each gate.
struct Unit {
    value: ValueId,
    looks_at: ValueId,
    macs: Vec<u64>,
}

/// The modules of a program and what they agree on.
struct Terms<'a> {
    stage: &'a Gate,
    /// Results of the modules, and gates of each.
    modules: Vec<(ValueId, usize)>,
    costs: Vec<f64>,
    consensus: Consensus,
    /// Whether the running means are of any batch yet.
    begun: bool,
    /// The mask, once it is fixed.
    mask: Option<Vec<bool>>,
}

impl<'a> Terms<'a> {
    /// Inserts a module for each unit.
    fn insert(
        stage: &'a Gate,
        graph: &Graph,
        units: &[Unit],
        program: &mut Program<f32>,
        seed: u64,
    ) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut modules = Vec::new();
        for (i, unit) in units.iter().enumerate() {
            let shape = &graph[unit.looks_at].shape;
            let channels = stored_shape(shape).last().copied().unwrap_or(1);
            let count = unit.macs.len();
            let module = GateModule::new(channels, count, &mut random);
            let hidden = module.b1.len();
            let parameters = [
                ("w1", vec![hidden, channels], module.w1),
                ("b1", vec![hidden], module.b1),
                ("w2", vec![count, hidden], module.w2),
                ("b2", vec![count], module.b2),
            ];
            let parameters = parameters.map(|(name, shape, data)| {
                let name = format!("gate{i}.{name}");
                program.add_parameter(name, Kind::Other, Tensor::new(shape, data))
            });
            let inputs = [unit.looks_at].into_iter().chain(parameters).collect();
            let gates = program.append(format!("gate{i}"), Gates::new(), inputs);
            program.intercept(unit.value, format!("gated{i}"), Multiply, &[gates]);
            modules.push((gates, count));
        }
        let macs: Vec<u64> = units.iter().flat_map(|u| u.macs.iter().copied()).collect();
        Terms {
            stage,
            modules,
            costs: loss::costs(&macs),
            consensus: Consensus::new(macs.len()),
            begun: false,
            mask: None,
        }
    }

    /// Of the running means: they look back over a tenth of the steps with gates, at most over 100.
    fn momentum(&self, at: &Moment) -> f64 {
        let gated = self.stage.schedule.freeze_at - self.stage.schedule.open_until;
        let steps = gated * (at.epochs * at.steps) as f64;
        (1.0 - 10.0 / steps.max(10.0)).min(0.99)
    }

    /// Sets what all gates are, and from a mask each module's part of it.
    fn set(&self, program: &mut Program<f32>, state: &State) {
        let mut first = 0;
        for &(gates, count) in &self.modules {
            if let Some(module) = program.operation_mut::<Gates>(gates) {
                module.state = match state {
                    State::Fixed(mask) => State::Fixed(mask[first..first + count].to_vec()),
                    other => other.clone(),
                };
            }
            first += count;
        }
    }

    /// Means of at least ½; of a layer's channels one stays.
    fn decide(&self, means: &[f64]) -> Vec<bool> {
        let mut rest = means;
        let of = |&(_, count): &(ValueId, usize)| {
            let (own, tail) = rest.split_at(count);
            rest = tail;
            match self.stage.units {
                GateUnits::Channels => guarded(own),
                GateUnits::Blocks => own.iter().map(|&m| m >= 0.5).collect(),
            }
        };
        self.modules.iter().flat_map(of).collect()
    }

    /// All modules' gates side by side, `[batch, all gates]`, from each module's own.
    fn side_by_side<'t>(&self, of: impl Fn(ValueId) -> Option<&'t [f32]>) -> Vec<f32> {
        let parts: Vec<(&[f32], usize)> = self
            .modules
            .iter()
            .filter_map(|&(id, count)| Some((of(id)?, count)))
            .collect();
        let samples = parts.first().map_or(0, |(p, count)| p.len() / count);
        let row = |i: usize| {
            let parts = parts.iter();
            parts.flat_map(move |(part, count)| part[i * count..(i + 1) * count].iter().copied())
        };
        (0..samples).flat_map(row).collect()
    }

    /// Exact means of all gates over the training samples.
    fn read_off(&mut self, program: &mut Program<f32>, session: &Session<'_>) -> Vec<f64> {
        self.set(program, &State::Follow);
        let train = &session.data.train;
        for first in (0..train.len()).step_by(BATCH) {
            let range = first..(first + BATCH).min(train.len());
            program.forward(
                plain(session.data, train, range, session.scaling),
                Mode::Evaluate,
            );
            let mut last = std::collections::BTreeMap::new();
            for &(id, _) in &self.modules {
                let gates = program.operation_mut::<Gates>(id);
                last.insert(id, gates.map_or(Vec::new(), |g| g.last.clone()));
            }
            let gates = self.side_by_side(|id| last.get(&id).map(Vec::as_slice));
            self.consensus.read(&gates);
        }
        self.consensus.read_off()
    }
}

impl Method for Terms<'_> {
    fn before_forward(&mut self, program: &mut Program<f32>, at: &Moment) {
        let state = match self.stage.schedule.at(at.share()) {
            Phase::Open => State::Open,
            Phase::Gated { .. } => State::Follow,
            Phase::Frozen => {
                let mask = self.mask.take();
                let mask = mask.unwrap_or_else(|| self.decide(self.consensus.means()));
                self.mask = Some(mask.clone());
                State::Fixed(mask)
            }
        };
        self.set(program, &state);
    }

    fn term(&mut self, program: &Program<f32>, at: &Moment) -> Option<Term> {
        let Phase::Gated { act, pol, risen } = self.stage.schedule.at(at.share()) else {
            return None;
        };
        let gates = self.side_by_side(|id| program.value(id).map(|t| t.data.as_slice()));
        self.consensus.set_momentum(self.momentum(at));
        self.consensus.update(&gates);
        self.begun = true;
        let all = self.costs.len();
        let means = loss::batch_means(&gates, all);
        let may_stay = 1.0 - risen * (1.0 - self.stage.keep);
        let open = loss::activation(&means, &self.costs, may_stay);
        let torn = loss::polarisation(&means);
        let mut gradient = vec![0.0; gates.len()];
        loss::add_to_gates(&open, act, &mut gradient);
        loss::add_to_gates(&torn, pol, &mut gradient);
        let mut first = 0;
        let part = |&(id, count): &(ValueId, usize)| {
            let range = first..first + count;
            first += count;
            let rows = gradient.chunks(all.max(1));
            let data: Vec<f32> = rows.flat_map(|row| row[range.clone()].to_vec()).collect();
            (id, Tensor::new([data.len() / count, count], data))
        };
        let parts = self.modules.iter().map(part).collect();
        Some((act * open.value + pol * torn.value, parts))
    }

    fn after_epoch(&mut self, _: &mut Program<f32>, _: &Moment, metrics: &mut Map<String, Value>) {
        let means = self.consensus.means();
        let open: f64 = means.iter().zip(&self.costs).map(|(m, c)| m * c).sum();
        metrics.insert("open".into(), json!(open));
        metrics.insert("consensus".into(), json!(consensus_rate(means)));
    }

    fn save(&self) -> Vec<(String, Tensor<f32>)> {
        let mut saved = Vec::new();
        if self.begun {
            let means = self.consensus.means().iter();
            let data: Vec<f32> = means.flat_map(|m| pieces(m.to_bits())).collect();
            saved.push(("means".into(), Tensor::new([data.len()], data)));
        }
        if let Some(mask) = &self.mask {
            let data = mask.iter().map(|&m| f32::from(u8::from(m))).collect();
            saved.push(("mask".into(), Tensor::new([mask.len()], data)));
        }
        saved
    }

    fn restore(&mut self, saved: Vec<(String, Tensor<f32>)>) {
        for (name, tensor) in saved {
            if name == "mask" {
                self.mask = Some(tensor.data.iter().map(|&m| m != 0.0).collect());
            } else {
                let means = tensor.data.chunks(4).map(|m| f64::from_bits(whole(m)));
                self.consensus = Consensus::resume(means.collect());
                self.begun = true;
            }
        }
    }
}

/// What the layer of a channel unit reads.
fn layer_input(graph: &Graph, unit: &ChannelUnit) -> Option<ValueId> {
    let mut value = unit.value;
    loop {
        let node = &graph.nodes[graph.producer(value)?];
        value = *node.inputs.first()?;
        if matches!(node.op, Op::Conv2d { .. } | Op::FullyConnected { .. }) {
            return Some(value);
        }
    }
}

pub(super) fn run(
    stage: &Gate,
    graph: &mut Graph,
    session: &mut Session<'_>,
) -> Result<Product, StageError> {
    let channels = Channels::analyse(graph);
    let (mut all_blocks, mut layers): (Vec<Block>, Vec<ChannelUnit>) = (Vec::new(), Vec::new());
    let mut units = Vec::new();
    match stage.units {
        GateUnits::Blocks => {
            all_blocks = blocks(graph);
            units.extend(all_blocks.iter().map(|block| Unit {
                value: block.branch,
                looks_at: block.input,
                macs: vec![block.macs],
            }));
        }
        GateUnits::Channels => {
            for layer in channel_units(graph, &channels) {
                if let Some(looks_at) = layer_input(graph, &layer) {
                    units.push(Unit {
                        value: layer.value,
                        looks_at,
                        macs: vec![layer.macs_per_channel; layer.channels.len()],
                    });
                    layers.push(layer);
                }
            }
        }
    }
    if units.is_empty() {
        return Err(StageError::Nothing(
            "no residual blocks, or no inner channels, that gates could close",
        ));
    }
    let mut program = Program::new(graph)?;
    let seed = session.seed_of("gates");
    let mut terms = Terms::insert(stage, graph, &units, &mut program, seed);
    session.train("training", &mut program, &stage.training, Some(&mut terms))?;
    let means = terms.read_off(&mut program, session);
    let frozen = terms.mask.is_some();
    let mask = terms.mask.take().unwrap_or_else(|| terms.decide(&means));
    terms.set(&mut program, &State::Fixed(mask.clone()));
    let test = &session.data.test;
    let before = evaluate(&mut program, session.data, test, session.scaling).accuracy;
    program.write_back(graph);

    let gated = graph.clone();
    match stage.units {
        GateUnits::Blocks => {
            let closed = all_blocks
                .into_iter()
                .zip(&mask)
                .filter(|(_, open)| !**open);
            let closed: Vec<Block> = closed.map(|(block, _)| block).collect();
            remove_blocks(graph, &closed)?;
        }
        GateUnits::Channels => {
            let all = layers.iter().flat_map(|l| l.channels.iter().copied());
            let closed = all.zip(&mask).filter(|(_, open)| !**open);
            let selection = Selection::of(closed.map(|(channel, _)| channel));
            cut_gated(graph, &channels, &selection)?;
        }
    }
    assert_no_gates(&gated, graph)?;
    let after = session.accuracy(graph)?;
    if !frozen {
        // Gates were still of each sample: the statistics are of another network.
        session.restate(graph, Some(&stage.training))?;
    }
    if let Some(fine_tune) = &stage.fine_tune {
        session.train_graph("fine-tune", graph, fine_tune)?;
    }
    let open = mask.iter().zip(&terms.costs).filter(|(open, _)| **open);
    Ok(Product::of([
        ("gates", json!(mask.len())),
        ("closed", json!(mask.iter().filter(|open| !**open).count())),
        (
            "open share of gateable MACs",
            json!(open.map(|(_, c)| c).sum::<f64>()),
        ),
        ("consensus rate", json!(consensus_rate(&means))),
        ("accuracy before the removal", json!(before)),
        ("accuracy after the removal", json!(after)),
    ]))
}
