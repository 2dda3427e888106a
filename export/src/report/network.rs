//! A network drawn as SVG: a node a row, chains down the middle, everything else along lanes at the left.

use super::html::{Report, escape};
use super::{grouped, readable};
use crate::graph::{Clamp, Graph, Node, Op, ValueId, Window};
use crate::passes::{macs, op_name};
use std::fmt::Write as _;

/// Pixels, at the size at which the drawing is not scaled.
const WIDTH: usize = 360;
const BOX: usize = 42;
const GAP: usize = 14;
const LANE: usize = 9;
/// About so many pixels a character of the first line has, which is bold, and one of the second line.
const CHARACTERS: [f64; 2] = [7.6, 6.2];

/// One line of the drawing: an input, a node or an output.
struct Row {
    name: String,
    what: String,
    shape: String,
    note: String,
    class: &'static str,
    is_end: bool,
}

/// An edge between two rows that does not go down the middle, and its lane.
struct Lane {
    from: usize,
    to: usize,
    lane: usize,
}

/// The kind of a node, which gives it its colour.
fn class(graph: &Graph, node: &Node) -> &'static str {
    match &node.op {
        Op::Conv2d { groups, .. } if *groups > 1 && *groups == channels(graph, node.inputs[0]) => {
            "depthwise"
        }
        Op::Conv2d { .. } => "conv",
        Op::FullyConnected { .. } | Op::MatMul | Op::Recurrent { .. } => "dense",
        Op::Pool { .. } | Op::Reduce { .. } => "pool",
        Op::Binary { .. } | Op::Concat { .. } | Op::Select => "join",
        _ => "other",
    }
}

fn channels(graph: &Graph, id: ValueId) -> usize {
    graph[id].shape.get(1).copied().unwrap_or(1)
}

/// The operator with what distinguishes it from others of its kind.
fn describe(graph: &Graph, node: &Node) -> String {
    let (mut text, clamp) = match &node.op {
        Op::Conv2d { window, clamp, .. } => {
            let name = match class(graph, node) {
                "depthwise" => "Depthwise conv",
                _ => "Conv",
            };
            (format!("{name} {}", kernel(window)), *clamp)
        }
        Op::Pool { window, .. } => (
            format!("{} {}", op_name(&node.op), kernel(window)),
            Clamp::NONE,
        ),
        Op::FullyConnected { clamp } => ("Fully connected".into(), *clamp),
        Op::Binary { clamp, .. } => (op_name(&node.op).to_owned(), *clamp),
        op => (op_name(op).to_owned(), Clamp::NONE),
    };
    match (clamp.min, clamp.max) {
        (0.0, f32::INFINITY) => text += ", ReLU",
        (0.0, 6.0) => text += ", ReLU6",
        _ if !clamp.is_none() => text += ", clipped",
        _ => {}
    }
    text
}

/// The operator of the node with this name, as people say it.
pub fn operator(graph: &Graph, name: &str) -> Option<String> {
    let node = graph.nodes.iter().find(|n| n.name == name)?;
    Some(describe(graph, node))
}

fn kernel(window: &Window) -> String {
    let [h, w] = window.kernel;
    match window.strides {
        [1, 1] => format!("{h}×{w}"),
        [a, b] if a == b => format!("{h}×{w}, stride {a}"),
        [a, b] => format!("{h}×{w}, strides {a}, {b}"),
    }
}

fn dims(shape: &[usize]) -> String {
    let shape = match shape {
        [1, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    dims.join("×")
}

/// The end of a text that has room for so many characters: exporters' names differ at their ends.
fn fit(text: &str, characters: usize) -> String {
    let count = text.chars().count();
    if count <= characters {
        return text.to_owned();
    }
    let kept = text.chars().skip(count + 1 - characters.max(1));
    std::iter::once('…').chain(kept).collect()
}

/// All rows, and between which of them values go.
fn rows(graph: &Graph) -> (Vec<Row>, Vec<(usize, usize)>) {
    let mut rows = Vec::new();
    let mut made: std::collections::HashMap<ValueId, usize> = std::collections::HashMap::new();
    let mut edges = Vec::new();
    let end = |id: ValueId, what: &str| Row {
        name: graph[id].name.clone(),
        what: what.into(),
        shape: dims(&graph[id].shape),
        note: type_name(graph, id).into(),
        class: "other",
        is_end: true,
    };
    for &id in &graph.inputs {
        made.insert(id, rows.len());
        rows.push(end(id, "input"));
    }
    for node in &graph.nodes {
        let row = rows.len();
        let sources = node.inputs.iter().filter_map(|id| made.get(id));
        edges.extend(sources.map(|&from| (from, row)));
        made.insert(node.output, row);
        let macs = macs(graph, node);
        rows.push(Row {
            name: node.name.clone(),
            what: describe(graph, node),
            shape: dims(&graph[node.output].shape),
            note: match macs {
                0 => String::new(),
                macs => format!("{} MACs", grouped(macs)),
            },
            class: class(graph, node),
            is_end: false,
        });
    }
    for &id in &graph.outputs {
        edges.extend(made.get(&id).map(|&from| (from, rows.len())));
        rows.push(end(id, "output"));
    }
    edges.sort_unstable();
    edges.dedup();
    (rows, edges)
}

fn type_name(graph: &Graph, id: ValueId) -> &'static str {
    match graph[id].dtype {
        crate::graph::DType::F32 => "float32",
        crate::graph::DType::I8 => "int8",
        crate::graph::DType::U8 => "uint8",
        crate::graph::DType::I32 => "int32",
        crate::graph::DType::I64 => "int64",
    }
}

/// Gives every edge that passes other rows the first lane that is free all along.
fn lanes(edges: &[(usize, usize)]) -> Vec<Lane> {
    let mut ends: Vec<usize> = Vec::new();
    let far = edges.iter().filter(|(from, to)| *to > from + 1);
    far.map(|&(from, to)| {
        let lane = ends.iter().position(|&end| end <= from);
        let lane = lane.unwrap_or_else(|| {
            ends.push(0);
            ends.len() - 1
        });
        ends[lane] = to;
        Lane { from, to, lane }
    })
    .collect()
}

/// The graph as SVG text.
fn draw(graph: &Graph) -> String {
    let (rows, edges) = rows(graph);
    let lanes = lanes(&edges);
    let count = lanes.iter().map(|l| l.lane + 1).max().unwrap_or(0);
    let left = if count == 0 { 1 } else { 8 + LANE * count };
    let height = rows.len() * (BOX + GAP) - GAP + 2;
    let top = |row: usize| 1 + row * (BOX + GAP);
    let middle = (left + WIDTH) / 2;
    let mut svg = format!(
        "<svg class=\"graph\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"The network, {} nodes\">\n",
        graph.nodes.len()
    );
    // Writing to a string does not fail.
    let mut put = |text: std::fmt::Arguments<'_>| {
        let _ = svg.write_fmt(text);
    };
    for &(from, to) in edges.iter().filter(|(from, to)| *to == from + 1) {
        let (y, end) = (top(from) + BOX, top(to));
        put(format_args!(
            "<path class=\"edge\" d=\"M{middle} {y}V{}\"/>",
            end - 3
        ));
        put(format_args!(
            "<path class=\"tip\" d=\"M{} {}h8l-4 5z\"/>\n",
            middle - 4,
            end - 5
        ));
    }
    for Lane { from, to, lane } in &lanes {
        let x = left - 8 - LANE * lane;
        let (y, end) = (top(*from) + BOX - 9, top(*to) + 12);
        put(format_args!(
            "<path class=\"edge\" d=\"M{left} {y}H{}q-4 0 -4 4V{}q0 4 4 4H{}\"/>",
            x + 4,
            end - 4,
            left - 3
        ));
        put(format_args!(
            "<path class=\"tip\" d=\"M{} {}v8l5 -4z\"/>\n",
            left - 5,
            end - 4
        ));
    }
    for (index, row) in rows.iter().enumerate() {
        let (y, right) = (top(index), WIDTH - 1);
        let room = |line: usize, other: &str| {
            let taken = other.chars().count() as f64 * CHARACTERS[1] + 34.0;
            (((right - left) as f64 - taken) / CHARACTERS[line]).max(4.0) as usize
        };
        let (name, what) = (
            fit(readable(&row.name), room(0, &row.shape)),
            fit(&row.what, room(1, &row.note)),
        );
        let style = if row.is_end { "end" } else { "box" };
        let (name, what, shape, note, title) = (
            escape(&name),
            escape(&what),
            escape(&row.shape),
            escape(&row.note),
            escape(&row.name),
        );
        put(format_args!("<g><title>{title}</title>"));
        put(format_args!(
            "<rect class=\"{style}\" x=\"{left}\" y=\"{y}\" width=\"{}\" height=\"{BOX}\" rx=\"6\"/>",
            right - left
        ));
        if !row.is_end {
            put(format_args!(
                "<rect class=\"{}\" x=\"{left}\" y=\"{}\" width=\"4\" height=\"{}\" rx=\"2\"/>",
                row.class,
                y + 6,
                BOX - 12
            ));
        }
        for (class, x, dy, anchor, text) in [
            ("name", left + 13, 18, "start", &name),
            ("what", left + 13, 33, "start", &what),
            ("what", right - 10, 18, "end", &shape),
            ("what", right - 10, 33, "end", &note),
        ] {
            put(format_args!(
                "<text class=\"{class}\" x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{text}</text>",
                y + dy
            ));
        }
        put(format_args!("</g>\n"));
    }
    svg + "</svg>"
}

/// What a layer costs, for the list beside the drawing.
#[derive(Clone, Debug)]
pub struct LayerCosts {
    /// ONNX node.
    pub name: String,
    /// Its operator, as people say it.
    pub operator: String,
    /// How long its bar is, of 1.
    pub share: f64,
    /// Figures: what and how much.
    pub figures: Vec<(&'static str, String)>,
}

impl Report {
    /// Adds the drawn network with a list of its layers beside it; below it on a phone. Without a graph, the list alone.
    pub fn network(&mut self, graph: Option<&Graph>, layers: &[LayerCosts]) {
        let layer = |layer: &LayerCosts| {
            let figure = |(what, value): &(&str, String)| {
                format!("<span><b>{}</b> {}</span>", escape(value), escape(what))
            };
            let figures: String = layer.figures.iter().map(figure).collect();
            format!(
                "<li><strong title=\"{}\">{}</strong> <em>{}</em>{}<div class=\"numbers\">{figures}</div></li>\n",
                escape(&layer.name),
                escape(readable(&layer.name)),
                escape(&layer.operator),
                super::chart::track(layer.share)
            )
        };
        let list: String = layers.iter().map(layer).collect();
        let list = format!("<ol class=\"layers\">\n{list}</ol>");
        match graph {
            Some(graph) => self.drawn(&format!(
                "<div class=\"network\">\n<div>{}</div>\n<div>{list}</div>\n</div>",
                draw(graph)
            )),
            None => self.drawn(&list),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_that_overlap_have_lanes_of_their_own() {
        let lanes = lanes(&[(0, 1), (0, 4), (1, 3), (4, 6)]);
        let found: Vec<_> = lanes.iter().map(|l| (l.from, l.to, l.lane)).collect();
        assert_eq!(found, [(0, 4, 0), (1, 3, 1), (4, 6, 0)]);
    }

    #[test]
    fn every_node_is_drawn_with_its_shape_and_every_name_is_escaped() {
        let mut net = crate::compress::testing::Net::new(1, &[1, 3, 8, 8]);
        let x = net.input();
        let y = net.conv_bn_relu(x, 8, 3, 1);
        let y = net.global_pool(y);
        let y = net.dense(y, 4);
        let mut graph = net.finish(y);
        crate::passes::prepare(&mut graph);
        graph.nodes[0].name = "<first>".into();
        let svg = draw(&graph);
        assert_eq!(
            svg.matches("<g>").count(),
            graph.nodes.len() + 2,
            "input and output, too"
        );
        assert!(svg.contains("&lt;first&gt;") && !svg.contains("<first>"));
        assert!(
            svg.contains("Conv 3×3, ReLU") && svg.contains(">8×8×8<"),
            "{svg}"
        );
    }
}
