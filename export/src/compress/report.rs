//! What compression did to each layer: multiply-accumulates, parameters, coded bytes, singular values, and the weights'
//! distribution with the generalised Gaussian that fits it.

use super::gaussian::rate::{TensorRate, levels, weight_tensors};
use super::gaussian::{GeneralizedGaussian, Moments};
use super::trp::{LayerSvd, Scheme, stable_rank};
use crate::graph::{Data, Graph, Node, Op, ValueId};
use crate::passes;
use crate::report::{Report, grouped};
use serde::Serialize;

/// Bins of a histogram, which reaches over ±4 deviations.
const BINS: usize = 61;
const REACH: f64 = 4.0;

/// One convolution or fully connected layer.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Layer {
    /// Node name.
    pub name: String,
    /// Shape of its weight.
    pub shape: Vec<usize>,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Weights and biases.
    pub parameters: u64,
    /// What its weights cost under exp-Golomb codes.
    pub rate: TensorRate,
    /// Singular values of the weight (channel-wise) of a convolution above 1 × 1, descending.
    pub sigma: Vec<f64>,
    /// `Σσ²/σ₁²`; 0 where there are no singular values.
    pub stable_rank: f64,
    /// Root of the mean square of the weights.
    pub deviation: f64,
    /// ν of the fitted generalised Gaussian; `None` where all weights are zero.
    pub shape_parameter: Option<f64>,
    /// Density of `w/deviation`: middle of the bin, measured.
    pub histogram: Vec<(f64, f64)>,
}

/// Reports on all layers with constant float or int8 weights, in order. `relative_step` is the step, in deviations, at which
/// float weights are counted.
pub fn layers(graph: &Graph, relative_step: f64) -> Vec<Layer> {
    graph
        .nodes
        .iter()
        .filter_map(|node| layer(graph, node, relative_step))
        .collect()
}

fn layer(graph: &Graph, node: &Node, relative_step: f64) -> Option<Layer> {
    if !matches!(node.op, Op::Conv2d { .. } | Op::FullyConnected { .. }) {
        return None;
    }
    let id = behind(graph, *node.inputs.get(1)?);
    let value = &graph[id];
    let weights: Vec<f32> = match value.data.as_ref()? {
        Data::F32(w) => w.clone(),
        Data::I8(w) => w.iter().map(|&w| w.into()).collect(),
        _ => return None,
    };
    let moments = Moments::of(&weights);
    let deviation = moments.deviation();
    let rate = match value.data {
        Some(Data::F32(_)) => {
            let step = if deviation > 0.0 {
                relative_step * deviation
            } else {
                1.0
            };
            TensorRate::of(&value.name, &levels(&weights, step), Some(step))
        }
        _ => TensorRate::of(&value.name, &levels(&weights, 1.0), None),
    };
    let sigma = match (<[usize; 4]>::try_from(value.shape.as_slice()), &node.op) {
        (Ok(shape), Op::Conv2d { groups: 1, .. }) if shape[2] * shape[3] > 1 => {
            LayerSvd::new(&weights, shape, Scheme::Channel)
                .map(|svd| svd.sigma())
                .unwrap_or_default()
        }
        _ => Vec::new(),
    };
    Some(Layer {
        name: node.name.clone(),
        shape: value.shape.clone(),
        macs: passes::macs(graph, node),
        parameters: passes::parameters(graph, node),
        rate,
        stable_rank: stable_rank(&sigma),
        sigma,
        deviation,
        shape_parameter: moments.shape(),
        histogram: histogram(&weights, deviation),
    })
}

fn behind(graph: &Graph, id: ValueId) -> ValueId {
    match graph.producer(id).map(|i| &graph.nodes[i]) {
        Some(n) if n.op == Op::Dequantize => n.inputs[0],
        _ => id,
    }
}

fn histogram(weights: &[f32], deviation: f64) -> Vec<(f64, f64)> {
    if deviation == 0.0 || !deviation.is_finite() {
        return Vec::new();
    }
    let width = 2.0 * REACH / BINS as f64;
    let mut counts = [0usize; BINS];
    for &w in weights {
        let bin = ((f64::from(w) / deviation + REACH) / width).floor();
        if (0.0..BINS as f64).contains(&bin) {
            counts[bin as usize] += 1;
        }
    }
    let density = |c: usize| c as f64 / weights.len() as f64 / width;
    let middle = |i: usize| (i as f64 + 0.5) * width - REACH;
    counts
        .iter()
        .enumerate()
        .map(|(i, &c)| (middle(i), density(c)))
        .collect()
}

impl Layer {
    /// The fitted density at the bins of [`Layer::histogram`].
    pub fn fitted(&self) -> Vec<(f64, f64)> {
        let Some(shape) = self.shape_parameter else {
            return Vec::new();
        };
        let fit = GeneralizedGaussian::with_variance(shape, 1.0);
        self.histogram
            .iter()
            .map(|&(x, _)| (x, fit.density(x)))
            .collect()
    }
}

/// Adds both states of a network to a report: a table of layers, and for each layer that is left its singular values and its
/// distribution. Layers are paired by name; what a split or cut removed or added stands alone.
pub fn add(report: &mut Report, before: &[Layer], after: &[Layer]) {
    let find = |layers: &[Layer], name: &str| layers.iter().find(|l| l.name == name).cloned();
    let mut names: Vec<&str> = before.iter().map(|l| l.name.as_str()).collect();
    names.extend(
        after
            .iter()
            .map(|l| l.name.as_str())
            .filter(|n| find(before, n).is_none()),
    );
    let number =
        |layer: Option<&Layer>, f: fn(&Layer) -> u64| layer.map_or("-".into(), |l| grouped(f(l)));
    let bytes = |l: &Layer| l.rate.coded_bits.div_ceil(8);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for name in names {
        let (old, new) = (find(before, name), find(after, name));
        let (old, new) = (old.as_ref(), new.as_ref());
        let last = new.or(old);
        rows.push(vec![
            name.to_owned(),
            number(old, |l| l.macs),
            number(new, |l| l.macs),
            number(old, |l| l.parameters),
            number(new, |l| l.parameters),
            number(old, bytes),
            number(new, bytes),
            last.and_then(|l| l.shape_parameter)
                .map_or("-".into(), |nu| format!("{nu:.2}")),
            last.map_or("-".into(), |l| format!("{:.2}", l.rate.entropy)),
        ]);
    }
    let sum = |layers: &[Layer], f: fn(&Layer) -> u64| grouped(layers.iter().map(f).sum());
    let totals = [|l: &Layer| l.macs, |l: &Layer| l.parameters, bytes]
        .map(|f| [sum(before, f), sum(after, f)]);
    let last = ["-".to_owned(), "-".to_owned()];
    rows.push(
        ["all".to_owned()]
            .into_iter()
            .chain(totals.into_iter().flatten())
            .chain(last)
            .collect(),
    );
    let headers = [
        "layer",
        "MACs",
        "now",
        "parameters",
        "now",
        "coded bytes",
        "now",
        "ν",
        "bits a weight, entropy",
    ];
    report.table("Layers", &headers, &rows);
    for layer in after {
        let numbered = |sigma: &[f64]| {
            sigma
                .iter()
                .enumerate()
                .map(|(i, &s)| ((i + 1) as f64, s))
                .collect()
        };
        let mut series: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        if let Some(old) = find(before, &layer.name).filter(|l| !l.sigma.is_empty()) {
            series.push(("before".into(), numbered(&old.sigma)));
        }
        if !layer.sigma.is_empty() {
            series.push(("now".into(), numbered(&layer.sigma)));
        }
        if !series.is_empty() {
            report.line_chart(&format!("{}: singular values", layer.name), &series);
        }
        if let Some(nu) = layer.shape_parameter {
            let fitted = format!("generalised Gaussian, ν = {nu:.2}");
            let series = [
                ("weights".to_owned(), layer.histogram.clone()),
                (fitted, layer.fitted()),
            ];
            report.line_chart(
                &format!("{}: density of weights in deviations", layer.name),
                &series,
            );
        }
    }
}

/// Bytes of all weights under exp-Golomb codes, one order a tensor; a shared tensor counts once.
pub fn coded_bytes(graph: &Graph, relative_step: f64) -> u64 {
    super::gaussian::rate::weight_rates(graph, relative_step)
        .iter()
        .map(|r| r.coded_bits.div_ceil(8))
        .sum()
}

/// Bytes of all weights as 32-bit floats; a shared tensor counts once.
pub fn float_bytes(graph: &Graph) -> u64 {
    let ids: std::collections::BTreeSet<ValueId> = weight_tensors(graph).collect();
    ids.iter().map(|&id| 4 * graph[id].len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::testing::Net;
    use crate::compress::trp::{RankRule, candidates, split};

    #[test]
    fn layers_before_and_after_a_split_are_reported() {
        let mut net = Net::new(1, &[1, 3, 8, 8]);
        let x = net.input();
        let y = net.conv_bn_relu(x, 8, 3, 1);
        let y = net.conv_bn_relu(y, 8, 3, 1);
        let y = net.global_pool(y);
        let y = net.dense(y, 4);
        let graph = net.finish(y);
        let mut small = graph.clone();
        let all = candidates(&graph, Scheme::Channel, false);
        split(&mut small, &all, Scheme::Channel, |_, svd| {
            Some(svd.rank(RankRule::Fixed(2)))
        })
        .unwrap();
        let (before, after) = (layers(&graph, 0.25), layers(&small, 0.25));
        assert_eq!((before.len(), after.len()), (3, 4));
        assert_eq!(
            before.iter().map(|l| l.macs).sum::<u64>(),
            passes::total_macs(&graph)
        );
        assert_eq!((before[1].sigma.len(), before[2].sigma.len()), (8, 0));
        // Uniform weights: flatter than a Gaussian, and their histogram has mass 1.
        assert!(before[1].shape_parameter > Some(2.5));
        let mass: f64 = before[1]
            .histogram
            .iter()
            .map(|(_, d)| d * 2.0 * REACH / BINS as f64)
            .sum();
        assert!((mass - 1.0).abs() < 1e-9);
        assert_eq!(
            coded_bytes(&graph, 0.25),
            before
                .iter()
                .map(|l| l.rate.coded_bits.div_ceil(8))
                .sum::<u64>()
        );
        assert_eq!(float_bytes(&graph), 4 * (8 * 27 + 8 * 72 + 32));
        let mut report = Report::new("test");
        add(&mut report, &before, &after);
        let html = report.html();
        assert!(html.matches("<svg").count() >= 6 && html.contains("singular values"));
    }
}
