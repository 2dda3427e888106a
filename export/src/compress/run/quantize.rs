//! `quantize`: the number format of the weights (and of activations), with or without training for it.

use super::figures::onnx_sample;
use super::norms::statistics;
use super::session::Session;
use super::{Product, StageError};
use crate::compress::formats::{Coded, Granularity, Grid, WeightFormat, dequantized};
use crate::compress::gaussian::rate::{TensorRate, weight_tensors};
use crate::compress::recipe::{Activations, Quantize};
use crate::graph::{Data, Graph, Op, Quantization, ValueId};
use crate::onnx::write::{to_coded_model_proto, to_model_proto};
use crate::passes;
use crate::quantize::{
    Calibration, Options, Ranges, activation_quantizations, calibrate, quantize,
};
use crate::train::tape::{Operation, Program, Tensor, function, straight_through};
use serde_json::json;
use std::collections::BTreeSet;

/// Training samples that ranges of activations are taken from.
const CALIBRATION: usize = 256;

pub(super) fn run(
    stage: &Quantize,
    graph: &mut Graph,
    session: &mut Session<'_>,
) -> Result<Product, StageError> {
    // Normalisations fold first: the codes are of the weights that run.
    passes::prepare(graph);
    passes::remove_identities(graph);
    // `quantize` has a scale a channel, and training must see the same.
    let granularity = match stage.activations {
        Activations::Int8 => Granularity::Channel,
        Activations::Float => stage.granularity,
    };
    let grid = Grid {
        granularity,
        relative_step: stage.relative_step,
    };
    let ranges = match stage.activations {
        Activations::Int8 => Some(ranges(graph, session)?),
        Activations::Float => None,
    };
    if let Some(training) = &stage.training {
        let mut program = Program::new(graph)?;
        let ids: BTreeSet<ValueId> = weight_tensors(graph).collect();
        for id in ids {
            if program.parameter(id).is_some() {
                let name = format!("{}_{}", program.name(id), stage.format.name());
                let seen = coded(stage.format, grid);
                program.intercept(id, name, straight_through(seen), &[]);
            }
        }
        if let Some(ranges) = &ranges {
            for (id, q) in activation_quantizations(graph, ranges)? {
                let name = format!("{}_int8", program.name(id));
                program.intercept(id, name, rounded(&q), &[]);
            }
        }
        session.train("training", &mut program, training, None)?;
        program.write_back(graph);
    }
    let mut product = match &ranges {
        Some(ranges) => {
            let options = Options {
                weight_step: stage.relative_step,
                weights: stage.format,
                ..Options::default()
            };
            let quantized = quantize(graph, ranges, &options)?;
            let mut product = Product::of([("calibration samples", json!(CALIBRATION))]);
            if stage.format != WeightFormat::Int8 {
                product.weight_bytes = Some(coded_bytes(&quantized));
            }
            product.model = Some(to_model_proto(&quantized));
            product
        }
        None => {
            let whole = graph.clone();
            let codes = dequantized(graph, stage.format, grid);
            if stage.correct_bias && stage.training.is_none() {
                correct_biases(&whole, graph, session)?;
            }
            let bytes: usize = codes.values().map(|c| c.stored_bytes()).sum();
            let mut product = Product::of([("tensors coded", json!(codes.len()))]);
            product.weight_bytes = Some(bytes as u64);
            if stage.format == WeightFormat::Int8 {
                let rate = |c: &Coded| {
                    let levels: Vec<i32> = c.codes.iter().map(|&q| (q as i8).into()).collect();
                    TensorRate::of("", &levels, None).coded_bits.div_ceil(8)
                };
                product.coded_bytes = Some(codes.values().map(rate).sum());
            }
            product.model = Some(to_coded_model_proto(graph, &codes));
            product
        }
    };
    if stage.entropy_coded {
        product.warnings.push(
            "`entropy-coded`: ONNX has no entropy-coded weights; the file has plain codes, the record says what they take coded"
                .into(),
        );
    }
    Ok(product)
}

/// Bytes of all weights of a graph in which they are integers of an eight-bit float format: a byte each, and the scales.
fn coded_bytes(graph: &Graph) -> u64 {
    let bytes = |id: ValueId| {
        let value = &graph[id];
        let scales = value.quantization.as_ref().map_or(0, |q| q.scales.len());
        (value.shape.iter().product::<usize>() + 4 * scales) as u64
    };
    let ids: BTreeSet<ValueId> = weight_tensors(graph).collect();
    ids.into_iter().map(bytes).sum()
}

/// Moves the mean difference of each layer's result from that of `whole` into its bias, layer after layer. Errors of weights are
/// of either sign, but where inputs have a mean (pixels, what comes out of a Relu) each channel's errors add up to an offset.
fn correct_biases(
    whole: &Graph,
    graph: &mut Graph,
    session: &Session<'_>,
) -> Result<(), StageError> {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let layer = matches!(node.op, Op::Conv2d { .. } | Op::FullyConnected { .. });
        let (output, bias) = (node.output, node.inputs.get(2).copied());
        let Some(bias) = bias.filter(|_| layer) else {
            continue;
        };
        let mean = |graph: &Graph| statistics(graph, output, session.data, session.scaling);
        let (expected, found) = (mean(whole)?.0, mean(graph)?.0);
        if let Some(Data::F32(bias)) = &mut graph[bias].data {
            for ((b, expected), found) in bias.iter_mut().zip(expected).zip(found) {
                *b += expected - found;
            }
        }
    }
    Ok(())
}

/// What a weight is seen as while training: with the scale that it would have now.
fn coded(format: WeightFormat, grid: Grid) -> impl FnMut(&Tensor<f32>) -> Tensor<f32> + Send {
    move |w| {
        let scales = format.scales(&w.data, &w.shape, grid);
        Tensor::new(w.shape.clone(), format.fake_quantize(&w.data, &scales).0)
    }
}

/// An activation as its int8 codes mean it; the gradient passes where they do not saturate.
fn rounded(q: &Quantization) -> impl Operation<f32> + use<> {
    let scale = q.scales.first().copied().unwrap_or(1.0);
    let zero_point = q.zero_point as f32;
    let (low, high) = (-128.0 - zero_point, 127.0 - zero_point);
    let steps = move |x: f32, margin: f32| nearest((x / scale).clamp(low - margin, high + margin));
    function(
        move |x: &Tensor<f32>| {
            let value = |&x: &f32| steps(x, 0.0) * scale;
            Tensor::new(x.shape.clone(), x.data.iter().map(value).collect())
        },
        move |x: &Tensor<f32>, mut gradient: Tensor<f32>| {
            for (g, &x) in gradient.data.iter_mut().zip(&x.data) {
                *g = if (low..=high).contains(&steps(x, 1.0)) {
                    *g
                } else {
                    0.0
                };
            }
            gradient
        },
    )
}

/// The nearest integer, ties to even, for magnitudes below 2²². Unlike `round_ties_even` it is no call where the processor's
/// baseline has no such instruction: with one for every activation, training took twice as long.
fn nearest(x: f32) -> f32 {
    const UNIT_IS_ONE: f32 = 12_582_912.0;
    (x + UNIT_IS_ONE) - UNIT_IS_ONE
}

/// Ranges of the activations, from training samples.
fn ranges(graph: &Graph, session: &Session<'_>) -> Result<Ranges, StageError> {
    let data = session.data;
    let count = CALIBRATION.min(data.train.len());
    let sample = |i| onnx_sample(data, &data.train, i, session.scaling);
    let samples: Vec<Vec<u8>> = (0..count).map(sample).collect();
    let samples = samples.iter().map(Vec::as_slice);
    Ok(calibrate(graph, Calibration::MinMax, samples)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tape::{Buffers, Context, Mode};

    #[test]
    fn nearest_is_what_the_library_says() {
        for i in -5_000..=5_000 {
            let x = i as f32 / 8.0;
            assert_eq!(nearest(x), x.round_ties_even(), "{x}");
        }
        assert!(nearest(f32::NAN).is_nan());
    }

    #[test]
    fn saturated_activations_have_no_gradient() {
        let x = Tensor::new(vec![6], vec![-1.0, -0.2, 0.3, 126.7, 127.7, 500.0]);
        let mut operation = rounded(&Quantization::per_tensor(0.5, -128));
        let mut context = Context {
            mode: Mode::Train,
            buffers: Buffers::default(),
        };
        let y = operation.forward(&[&x], &mut context);
        assert_eq!(y.data, [0.0, 0.0, 0.5, 126.5, 127.5, 127.5]);
        let ones = Tensor::new(vec![6], vec![1.0; 6]);
        let gradient = operation.backward(&[&x], &y, ones, &[true], &mut context);
        let gradient = gradient[0].as_ref().map(|g| g.data.as_slice());
        assert_eq!(gradient, Some([0.0, 1.0, 1.0, 1.0, 1.0, 0.0].as_slice()));
    }
}
