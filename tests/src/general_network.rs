//! A float network of every operator that only larger models have.

use kinglet_export::graph::{
    Binary, Cell, Clamp, DType, Data, Graph, Node, Op, Reduction, Unary, Value, ValueId,
};

struct Builder(Graph);

impl Builder {
    fn value(&mut self, shape: &[usize], dtype: DType) -> ValueId {
        let name = format!("v{}", self.0.values.len());
        self.0.add_value(Value {
            name,
            shape: shape.to_vec(),
            dtype,
            quantization: None,
            data: None,
        })
    }

    fn constant(&mut self, shape: &[usize]) -> ValueId {
        let name = format!("v{}", self.0.values.len());
        let len = shape.iter().product::<usize>();
        let data = (0..len).map(|i| (i % 7) as f32 * 0.25 - 0.5).collect();
        self.0
            .add_constant(name, shape.to_vec(), Data::F32(data), None)
    }

    fn typed(&mut self, op: Op, inputs: &[ValueId], shape: &[usize], dtype: DType) -> ValueId {
        let output = self.value(shape, dtype);
        self.0.nodes.push(Node {
            name: format!("n{}", self.0.nodes.len()),
            op,
            inputs: inputs.to_vec(),
            output,
        });
        output
    }

    fn node(&mut self, op: Op, inputs: &[ValueId], shape: &[usize]) -> ValueId {
        self.typed(op, inputs, shape, DType::F32)
    }
}

/// Three inputs (floats, integers, truth values) and a carried state; outputs of all types that a plan has but int8.
pub fn general() -> Graph {
    let mut b = Builder(Graph::default());
    let x = b.value(&[2, 3, 4], DType::F32);
    let integers = b.value(&[2, 2], DType::I32);
    let truths = b.value(&[2, 3, 4], DType::U8);
    let state = b.value(&[2, 1, 4], DType::F32);
    b.0.inputs = vec![x, integers, truths, state];
    let unaries = [
        Unary::Abs,
        Unary::Sqrt,
        Unary::Log,
        Unary::Floor,
        Unary::Exp,
        Unary::Erf,
        Unary::Sin,
        Unary::Ceil,
        Unary::Cos,
        Unary::Round,
        Unary::Sign,
    ];
    let mut y = x;
    for unary in unaries {
        y = b.node(Op::Unary(unary), &[y], &[2, 3, 4]);
    }
    let row = b.constant(&[1, 3, 1]);
    let binary = |op| Op::Binary {
        op,
        clamp: Clamp::NONE,
    };
    let mut sum = y;
    let functions = [
        Binary::Min,
        Binary::Max,
        Binary::Pow,
        Binary::Equal,
        Binary::Less,
        Binary::LessOrEqual,
    ];
    for function in functions {
        let first = b.node(binary(function), &[x, row], &[2, 3, 4]);
        sum = b.node(binary(Binary::Add), &[sum, first], &[2, 3, 4]);
    }
    for function in [Binary::Pow, Binary::Div, Binary::Less, Binary::LessOrEqual] {
        let second = b.node(binary(function), &[row, x], &[2, 3, 4]);
        sum = b.node(binary(Binary::Add), &[sum, second], &[2, 3, 4]);
    }
    let condition = b.node(Op::Convert, &[truths], &[2, 3, 4]);
    let chosen = b.node(Op::Select, &[condition, sum, row], &[2, 3, 4]);
    let strides = vec![-12, 4, 2];
    let offset = 12;
    let backwards = b.node(Op::Strided { strides, offset }, &[chosen], &[2, 3, 2]);
    let bytes = b.typed(
        Op::Strided {
            strides: vec![12, 4, 1],
            offset: 0,
        },
        &[truths],
        &[2, 2, 4],
        DType::U8,
    );
    let indices = vec![2, 0, 1, 2];
    let picked = b.node(Op::Pick { axis: 1, indices }, &[backwards], &[2, 4, 2]);
    let at = b.node(Op::Convert, &[integers], &[2, 2]);
    let table = b.constant(&[5, 3]);
    let rows = b.node(Op::Gather { axis: 0 }, &[at, table], &[2, 2, 3]);
    let resample = Op::Resample {
        axis: 1,
        taps: 2,
        indices: vec![0, 1, 1, 1, 0, 0],
        weights: vec![0.5, 0.5, 1.0, 0.0, 0.25, 0.75],
    };
    let resampled = b.node(resample, &[rows], &[2, 3, 3]);
    let product = b.node(Op::MatMul, &[resampled, chosen], &[2, 3, 4]);
    let mut reduced = Vec::new();
    for reduction in [
        Reduction::Sum,
        Reduction::Product,
        Reduction::Min,
        Reduction::Max,
        Reduction::ArgMin,
        Reduction::ArgMax,
    ] {
        let axes = vec![1];
        reduced.push(b.node(Op::Reduce { reduction, axes }, &[product], &[2, 1, 4]));
    }
    let loaded = b.constant(&[2, 1, 4]);
    reduced.push(loaded);
    let all = b.node(Op::Concat { axis: 1 }, &reduced, &[2, 7, 4]);
    let mut steps = b.node(Op::Reshape, &[all], &[2, 7, 4]);
    for (cell, reverse) in [(Cell::Lstm, false), (Cell::Gru, true), (Cell::Plain, false)] {
        let gates = cell.gates() * 4;
        let flat = b.node(Op::Reshape, &[steps], &[14, 4]);
        let (w, bias) = (b.constant(&[gates, 4]), b.constant(&[gates]));
        let fully_connected = Op::FullyConnected { clamp: Clamp::NONE };
        let sums = b.node(fully_connected, &[flat, w, bias], &[14, gates]);
        let sums = b.node(Op::Reshape, &[sums], &[14, 1, gates]);
        let weights = b.constant(&[gates, 4]);
        let initial = match cell {
            Cell::Lstm => state,
            _ => b.constant(&[1, 1, 4]),
        };
        let mut inputs = vec![sums, weights, initial];
        if cell == Cell::Gru {
            inputs.push(b.constant(&[4]));
        }
        let states = b.node(Op::Recurrent { cell, reverse }, &inputs, &[15, 1, 4]);
        if cell == Cell::Lstm {
            let last = b.node(Op::Slice { axis: 0, start: 13 }, &[states], &[2, 1, 4]);
            let next = b.node(Op::Unary(Unary::Tanh), &[last], &[2, 1, 4]);
            b.0.outputs.push(next);
        }
        let all = b.node(Op::Slice { axis: 0, start: 0 }, &[states], &[14, 1, 4]);
        steps = b.node(Op::Reshape, &[all], &[2, 7, 4]);
    }
    let whole = b.typed(Op::Convert, &[steps], &[2, 7, 4], DType::I32);
    let truth = b.typed(Op::Convert, &[picked], &[2, 4, 2], DType::U8);
    b.0.outputs.extend([steps, whole, truth, bytes]);
    let name = |b: &Builder, id: ValueId| b.0[id].name.clone();
    let pair = (name(&b, state), name(&b, b.0.outputs[0]));
    b.0.states.push(pair);
    b.0
}
