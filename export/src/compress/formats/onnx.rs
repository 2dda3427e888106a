//! Coded weights in ONNX, which has no such type: as the floats they mean, or as codes with a table.

use super::{Coded, Grid, WeightFormat};
use crate::compress::gaussian::rate::weight_tensors;
use crate::graph::{Data, Graph, ValueId};
use crate::onnx::write::to_model_proto;
use std::collections::BTreeMap;
use tract_onnx::pb;

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

/// The graph as an ONNX model in which each coded tensor is a `uint8` initialiser, looked up in a table of 256 floats:
///
/// ```text
/// codes ─ Cast(int32) ─ Gather(table) ─ Mul(scale) ─ the weights' old name
/// ```
///
/// Opset 17 and constant-foldable: any runtime computes the floats once, and importing gives the graph back.
pub fn table_model(graph: &Graph, coded: &BTreeMap<ValueId, Coded>) -> pb::ModelProto {
    let mut model = to_model_proto(graph);
    let Some(proto) = &mut model.graph else {
        return model;
    };
    let mut taken: Vec<String> = graph.values.iter().map(|v| v.name.clone()).collect();
    taken.extend(proto.initializer.iter().map(|t| t.name.clone()));
    taken.extend(proto.node.iter().flat_map(|n| n.output.clone()));
    let mut fresh = |base: String| {
        let mut name = base.clone();
        let mut n = 1;
        while taken.contains(&name) {
            n += 1;
            name = format!("{base}_{n}");
        }
        taken.push(name.clone());
        name
    };
    let mut tables: Vec<(WeightFormat, String)> = Vec::new();
    let (mut nodes, mut added) = (Vec::new(), Vec::new());
    for (&id, weights) in coded {
        let name = graph[id].name.clone();
        let before = proto.initializer.len();
        proto.initializer.retain(|t| t.name != name);
        if proto.initializer.len() == before {
            // Nothing reads it.
            continue;
        }
        let table = match tables.iter().find(|(f, _)| *f == weights.format) {
            Some((_, table)) => table.clone(),
            None => {
                let table = fresh(format!("{}_table", weights.format.name().to_lowercase()));
                let finite: Vec<f32> = weights
                    .format
                    .table()
                    .iter()
                    .map(|v| if v.is_nan() { 0.0 } else { *v })
                    .collect();
                added.push(floats(&table, &[256], &finite));
                tables.push((weights.format, table.clone()));
                table
            }
        };
        let (codes, index, looked) = (
            fresh(format!("{name}_codes")),
            fresh(format!("{name}_index")),
            fresh(format!("{name}_unscaled")),
        );
        let scale = fresh(format!("{name}_scale"));
        added.push(pb::TensorProto {
            name: codes.clone(),
            dims: weights.shape.iter().map(|&d| d as i64).collect(),
            data_type: pb::tensor_proto::DataType::Uint8 as i32,
            raw_data: weights.codes.clone(),
            ..Default::default()
        });
        let scale_shape: Vec<usize> = if weights.scales.len() == 1 {
            Vec::new()
        } else {
            (0..weights.shape.len())
                .map(|axis| if axis == 0 { weights.scales.len() } else { 1 })
                .collect()
        };
        added.push(floats(&scale, &scale_shape, &weights.scales));
        let to = attribute("to", i64::from(pb::tensor_proto::DataType::Int32 as i32));
        nodes.push(node("Cast", &[&codes], &index, vec![to]));
        nodes.push(node(
            "Gather",
            &[&table, &index],
            &looked,
            vec![attribute("axis", 0)],
        ));
        nodes.push(node("Mul", &[&looked, &scale], &name, Vec::new()));
    }
    proto.initializer.extend(added);
    nodes.append(&mut proto.node);
    proto.node = nodes;
    model
}

fn floats(name: &str, shape: &[usize], data: &[f32]) -> pb::TensorProto {
    pb::TensorProto {
        name: name.into(),
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: pb::tensor_proto::DataType::Float as i32,
        raw_data: data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ..Default::default()
    }
}

fn attribute(name: &str, value: i64) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.into(),
        i: value,
        r#type: pb::attribute_proto::AttributeType::Int as i32,
        ..Default::default()
    }
}

fn node(
    op: &str,
    inputs: &[&str],
    output: &str,
    attribute: Vec<pb::AttributeProto>,
) -> pb::NodeProto {
    pb::NodeProto {
        op_type: op.into(),
        name: output.into(),
        input: inputs.iter().map(|&i| i.to_owned()).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::formats::Granularity;
    use crate::compress::testing::{Net, run};
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
                let model = table_model(&graph, &coded);
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
