//! `quantize`: the number format of the weights (and of activations), with or without training for it.

use super::figures::onnx_sample;
use super::session::Session;
use super::{Product, StageError};
use crate::compress::formats::{Granularity, WeightFormat, dequantized, table_model};
use crate::compress::gaussian::rate::weight_tensors;
use crate::compress::recipe::{Activations, Quantize};
use crate::graph::{Graph, ValueId};
use crate::onnx::write::to_model_proto;
use crate::passes;
use crate::quantize::{Calibration, Options, calibrate, quantize};
use crate::train::tape::{Program, Tensor, straight_through};
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
    if let Some(training) = &stage.training {
        let mut program = Program::new(graph)?;
        let ids: BTreeSet<ValueId> = weight_tensors(graph).collect();
        for id in ids {
            if program.parameter(id).is_some() {
                let name = format!("{}_{}", program.name(id), stage.format.name());
                let seen = coded(stage.format, granularity);
                program.intercept(id, name, straight_through(seen), &[]);
            }
        }
        session.train("training", &mut program, training, None)?;
        program.write_back(graph);
    }
    let mut product = match stage.activations {
        Activations::Int8 => int8(graph, session)?,
        Activations::Float => {
            let codes = dequantized(graph, stage.format, granularity);
            let bytes: usize = codes.values().map(|c| c.stored_bytes()).sum();
            let mut product = Product::of([("tensors coded", json!(codes.len()))]);
            product.weight_bytes = Some(bytes as u64);
            product.model = Some(table_model(graph, &codes));
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

/// What a weight is seen as while training: with the scale that it would have now.
fn coded(
    format: WeightFormat,
    granularity: Granularity,
) -> impl FnMut(&Tensor<f32>) -> Tensor<f32> + Send {
    move |w| {
        let scales = format.scales(&w.data, &w.shape, granularity);
        Tensor::new(w.shape.clone(), format.fake_quantize(&w.data, &scales).0)
    }
}

fn int8(graph: &Graph, session: &Session<'_>) -> Result<Product, StageError> {
    let data = session.data;
    let count = CALIBRATION.min(data.train.len());
    let sample = |i| onnx_sample(data, &data.train, i, session.scaling);
    let samples: Vec<Vec<u8>> = (0..count).map(sample).collect();
    let ranges = calibrate(
        graph,
        Calibration::MinMax,
        samples.iter().map(Vec::as_slice),
    )?;
    let quantized = quantize(graph, &ranges, &Options::default())?;
    let mut product = Product::of([("calibration samples", json!(count))]);
    product.model = Some(to_model_proto(&quantized));
    Ok(product)
}
