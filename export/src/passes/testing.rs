//! Small graphs for the passes' tests.

use crate::graph::{DType, Data, Graph, Node, Op, Quantization, Value, ValueId, Window};

pub(crate) struct GraphBuilder {
    pub(crate) graph: Graph,
}

/// A square window with pads all around.
pub(crate) fn window(kernel: usize, pad: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        strides: [1; 2],
        dilations: [1; 2],
        pads: [pad; 4],
    }
}

impl GraphBuilder {
    pub(crate) fn new() -> Self {
        GraphBuilder {
            graph: Graph::default(),
        }
    }

    fn value(
        &mut self,
        name: String,
        shape: &[usize],
        dtype: DType,
        quantization: Option<Quantization>,
    ) -> ValueId {
        self.graph.add_value(Value {
            name,
            shape: shape.to_vec(),
            dtype,
            quantization,
            data: None,
        })
    }

    pub(crate) fn input(&mut self, shape: &[usize]) -> ValueId {
        let id = self.value(
            format!("x{}", self.graph.inputs.len()),
            shape,
            DType::F32,
            None,
        );
        self.graph.inputs.push(id);
        id
    }

    pub(crate) fn quantized_input(
        &mut self,
        shape: &[usize],
        scale: f32,
        zero_point: i32,
    ) -> ValueId {
        let q = Quantization::per_tensor(scale, zero_point);
        let id = self.value(
            format!("x{}", self.graph.inputs.len()),
            shape,
            DType::I8,
            Some(q),
        );
        self.graph.inputs.push(id);
        id
    }

    pub(crate) fn floats(&mut self, name: &str, shape: &[usize], step: f32) -> ValueId {
        let count: usize = shape.iter().product();
        let data = (0..count).map(|i| (i as f32 - 1.0) * step).collect();
        self.graph
            .add_constant(name, shape.to_vec(), Data::F32(data), None)
    }

    pub(crate) fn constant(
        &mut self,
        shape: &[usize],
        data: Data,
        q: Option<Quantization>,
    ) -> ValueId {
        let name = format!("c{}", self.graph.values.len());
        self.graph.add_constant(name, shape.to_vec(), data, q)
    }

    pub(crate) fn node(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[ValueId],
        shape: &[usize],
    ) -> ValueId {
        let dtype = self.graph[inputs[0]].dtype;
        let q = self.graph[inputs[0]].quantization.clone();
        let output = self.value(format!("{name}_out"), shape, dtype, q);
        self.graph.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
            output,
        });
        output
    }

    pub(crate) fn dequantize(&mut self, x: ValueId) -> ValueId {
        let shape = self.graph[x].shape.clone();
        let output = self.value(
            format!("d{}", self.graph.values.len()),
            &shape,
            DType::F32,
            None,
        );
        self.graph.nodes.push(Node {
            name: "dequantize".into(),
            op: Op::Dequantize,
            inputs: vec![x],
            output,
        });
        output
    }

    pub(crate) fn quantize(&mut self, x: ValueId, scale: f32, zero_point: i32) -> ValueId {
        let shape = self.graph[x].shape.clone();
        let q = Some(Quantization::per_tensor(scale, zero_point));
        let output = self.value(
            format!("q{}", self.graph.values.len()),
            &shape,
            DType::I8,
            q,
        );
        self.graph.nodes.push(Node {
            name: "quantize".into(),
            op: Op::Quantize,
            inputs: vec![x],
            output,
        });
        output
    }

    pub(crate) fn finish(mut self, outputs: &[ValueId]) -> Graph {
        self.graph.outputs = outputs.to_vec();
        self.graph
    }
}

/// Names of the operators, in order.
pub(crate) fn ops(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|n| super::op_name(&n.op)).collect()
}
