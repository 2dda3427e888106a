//! Weights of a graph in an eight-bit format. ONNX has no such type: [`crate::onnx::write::to_coded_model_proto`] writes codes and
//! a table.

use super::{Coded, Grid, WeightFormat};
use crate::compress::gaussian::rate::weight_tensors;
use crate::graph::{Data, Graph, ValueId};
use std::collections::BTreeMap;

/// Codes the float weights of every convolution and fully connected layer and replaces them by what they mean. Biases and
/// normalisations stay as they are.
pub fn dequantized(
    graph: &mut Graph,
    format: WeightFormat,
    grid: impl Into<Grid>,
) -> BTreeMap<ValueId, Coded> {
    let grid = grid.into();
    let mut coded = BTreeMap::new();
    let ids: Vec<ValueId> = weight_tensors(graph).collect();
    for id in ids {
        let value = &mut graph[id];
        if let Some(Data::F32(weights)) = &mut value.data
            && !coded.contains_key(&id)
        {
            let codes = format.encode(weights, &value.shape, grid);
            *weights = codes.decode();
            coded.insert(id, codes);
        }
    }
    coded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::formats::Granularity;
    use crate::compress::testing::{Net, run};
    use crate::onnx::write::to_coded_model_proto;
    use crate::onnx::{LoadOptions, load_model};

    #[test]
    fn codes_and_table_import_as_the_floats_they_mean() {
        for format in WeightFormat::ALL {
            for granularity in [Granularity::Tensor, Granularity::Channel] {
                let mut net = Net::new(5, &[1, 3, 8, 8]);
                let x = net.input();
                let y = net.conv_bn_relu(x, 6, 3, 1);
                let y = net.global_pool(y);
                let logits = net.dense(y, 4);
                let mut graph = net.finish(logits);
                let coded = dequantized(&mut graph, format, granularity);
                assert_eq!(coded.len(), 2);
                let model = to_coded_model_proto(&graph, &coded);
                let proto = model.graph.as_ref().unwrap();
                assert_eq!(
                    proto
                        .initializer
                        .iter()
                        .filter(|t| t.name.ends_with("_table"))
                        .count(),
                    1
                );
                let imported = load_model(&model, &LoadOptions::default()).unwrap();
                for (&id, codes) in &coded {
                    let name = &graph[id].name;
                    let back = imported.values.iter().find(|v| v.name == *name).unwrap();
                    assert_eq!(
                        back.data,
                        Some(Data::F32(codes.decode())),
                        "{} {name}",
                        format.name()
                    );
                }
                let x: Vec<f32> = (0..192).map(|i| (i as f32 * 0.37).sin()).collect();
                assert_eq!(run(&imported, &x), run(&graph, &x));
            }
        }
    }
}
