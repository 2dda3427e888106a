//! ONNX files: decoding, importing, every pass, and compiling what is accepted, within small limits.

use super::mutate::EXTREMES;
use crate::networks;
use crate::random::Random;
use kinglet_export::compile::{self, CompileOptions, StoredWeights, Target};
use kinglet_export::host::AlignedBytes;
use kinglet_export::limits::Limits;
use kinglet_export::onnx::{self, LoadOptions};
use kinglet_export::passes;
use prost::Message;
use tract_onnx::pb::{AttributeProto, ModelProto, TensorProto};

/// Limits under which a case takes milliseconds. `Default` has the ones for users.
pub fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.decoded_bytes = 4 << 20;
    limits.nodes = 200;
    limits.elements = 1 << 16;
    limits.total_elements = 1 << 18;
    limits.macs = 1 << 22;
    limits
}

/// Imports, prepares and compiles, for the host or with stored weights for a Cortex-M4F.
pub fn compile(file: &[u8]) -> bool {
    match outcome(file) {
        Ok(plan) => {
            let plan = AlignedBytes::from(plan.as_slice());
            kinglet::Plan::parse(plan.bytes()).expect("the compiler makes valid plans");
            true
        }
        Err(reason) => {
            assert!(!reason.is_empty());
            false
        }
    }
}

/// The plan, or why there is none.
///
/// # Errors
/// The message of the loader, or of the compiler.
pub fn outcome(file: &[u8]) -> Result<Vec<u8>, String> {
    let limits = limits();
    let proto = onnx::decode(file, &limits).map_err(|e| e.to_string())?;
    let options = LoadOptions {
        limits,
        ..LoadOptions::default()
    };
    let mut graph = onnx::load_model(&proto, &options).map_err(|e| e.to_string())?;
    passes::prepare(&mut graph);
    let mut options = CompileOptions::default();
    if file.len() % 2 == 1 {
        options.target = Target::CortexM4f;
        options.weights = StoredWeights::Auto;
    }
    let compiled = compile::compile(&graph, &options).map_err(|e| e.to_string())?;
    Ok(compiled.core().to_vec())
}

/// Small models: those that are committed, and networks with most operators.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        include_bytes!("../../models/digits.onnx").to_vec(),
        include_bytes!("../../models/digits_int8.onnx").to_vec(),
    ];
    let graphs = [
        networks::classifier(false),
        networks::classifier(true),
        networks::two_inputs(false),
        networks::two_inputs(true),
        networks::everything(false),
        networks::everything(true),
    ];
    seeds.extend(
        graphs
            .iter()
            .map(|g| onnx::write::to_model_proto(g).encode_to_vec()),
    );
    seeds.extend(super::operators::operators().map(|m| m.encode_to_vec()));
    seeds
}

/// A well-formed model that says something else: other numbers, other operators, edges and shapes.
pub fn distort(file: &mut Vec<u8>, random: &mut Random) {
    let Ok(mut model) = ModelProto::decode(file.as_slice()) else {
        return;
    };
    for _ in 0..=random.below(3) {
        distort_once(&mut model, random);
    }
    *file = model.encode_to_vec();
}

fn extreme(random: &mut Random) -> i64 {
    match random.below(3) {
        0 => random.pick(&EXTREMES) as i64,
        1 => -(random.pick(&EXTREMES) as i64).wrapping_abs(),
        _ => random.below(20) as i64 - 3,
    }
}

fn distort_once(model: &mut ModelProto, random: &mut Random) {
    if random.one_in(40)
        && let Some(opset) = model.opset_import.first_mut()
    {
        opset.version = random.between(6, 30) as i64;
        return;
    }
    let Some(graph) = &mut model.graph else {
        return;
    };
    let nodes = graph.node.len();
    match random.below(8) {
        0 | 1 if !graph.initializer.is_empty() => {
            let at = random.below(graph.initializer.len());
            distort_tensor(&mut graph.initializer[at], random);
        }
        2 if !graph.input.is_empty() => {
            use tract_onnx::pb::{tensor_shape_proto::dimension::Value, type_proto};
            let at = random.below(graph.input.len());
            let ty = graph.input[at]
                .r#type
                .as_mut()
                .and_then(|t| t.value.as_mut());
            if let Some(type_proto::Value::TensorType(tensor)) = ty {
                let dims = tensor.shape.as_mut().map(|s| &mut s.dim);
                match dims {
                    Some(dims) if !dims.is_empty() && !random.one_in(8) => {
                        let at = random.below(dims.len());
                        dims[at].value = Some(Value::DimValue(extreme(random)));
                    }
                    _ => tensor.elem_type = random.below(18) as i32,
                }
            }
        }
        3 if nodes > 1 => {
            // Another edge: often from a later node, or of another shape.
            let names: Vec<String> = graph
                .node
                .iter()
                .flat_map(|n| n.output.iter().chain(&n.input))
                .cloned()
                .collect();
            let node = &mut graph.node[random.below(nodes)];
            if !node.input.is_empty() {
                let at = random.below(node.input.len());
                node.input[at].clone_from(&names[random.below(names.len())]);
            }
        }
        4 if nodes > 0 => {
            let operators: Vec<&str> = onnx::operators().collect();
            graph.node[random.below(nodes)].op_type = random.pick(&operators).to_owned();
        }
        5 if nodes > 0 => {
            let at = random.below(nodes);
            match random.below(3) {
                0 => drop(graph.node.remove(at)),
                1 => graph.node.insert(at, graph.node[at].clone()),
                _ => graph.node.swap(at, random.below(nodes)),
            }
        }
        _ if nodes > 0 => {
            let node = &mut graph.node[random.below(nodes)];
            if node.attribute.is_empty() || random.one_in(10) {
                let name = random.pick(&[
                    "axis",
                    "axes",
                    "pads",
                    "strides",
                    "dilations",
                    "group",
                    "keepdims",
                    "to",
                    "perm",
                ]);
                node.attribute.push(AttributeProto {
                    name: name.into(),
                    i: extreme(random),
                    ints: (0..random.below(5)).map(|_| extreme(random)).collect(),
                    ..Default::default()
                });
                return;
            }
            let at = random.below(node.attribute.len());
            distort_attribute(&mut node.attribute[at], random);
        }
        _ => {}
    }
}

fn distort_attribute(attribute: &mut AttributeProto, random: &mut Random) {
    if let Some(t) = &mut attribute.t {
        return distort_tensor(t, random);
    }
    if attribute.ints.is_empty() || random.one_in(6) {
        attribute.i = extreme(random);
        attribute.f = random.pick(&[0.0, -1.0, 1e-30, 1e30, f32::NAN, f32::INFINITY]);
        return;
    }
    let at = random.below(attribute.ints.len());
    match random.below(6) {
        0 => drop(attribute.ints.remove(at)),
        1 => attribute.ints.push(extreme(random)),
        _ => attribute.ints[at] = extreme(random),
    }
}

fn distort_tensor(tensor: &mut TensorProto, random: &mut Random) {
    let value = extreme(random);
    if !tensor.int64_data.is_empty() && !random.one_in(4) {
        let at = random.below(tensor.int64_data.len());
        tensor.int64_data[at] = value;
    } else if !tensor.raw_data.is_empty() && !random.one_in(4) {
        let at = random.below(tensor.raw_data.len());
        for (byte, new) in tensor.raw_data[at / 8 * 8..]
            .iter_mut()
            .zip(value.to_le_bytes())
        {
            *byte = new;
        }
    } else if !tensor.float_data.is_empty() && !random.one_in(4) {
        let at = random.below(tensor.float_data.len());
        tensor.float_data[at] = random.pick(&[0.0, -1.0, 1e30, f32::NAN, f32::INFINITY, 3e9]);
    } else if random.one_in(3) {
        tensor.data_type = random.below(18) as i32;
    } else if random.one_in(2) && tensor.dims.len() > 1 {
        let (a, b) = (
            random.below(tensor.dims.len()),
            random.below(tensor.dims.len()),
        );
        tensor.dims.swap(a, b);
    } else if tensor.dims.is_empty() || random.one_in(3) {
        tensor.dims.push(random.pick(&[0, 1, 1, 2, value]));
    } else {
        let at = random.below(tensor.dims.len());
        tensor.dims[at] = value;
    }
}
