//! Int8 convolutions and fully connected layers: which kernel runs them, with which weights and how much working memory.

use super::coded::Coding;
use super::cost::{self, Work};
use super::facts::{Facts, Result};
use super::layout::transpose_data;
use super::packing::{self, Packed, Weights};
use super::residual::{self, Residuals};
use super::storage::Needs;
use super::tflite::{self, Fixed, Scales};
use super::tiling::Bands;
use super::weights::{fold_zero_point, multipliers};
use super::{CompileOptions, Kernels, Rounding, StoredWeights, Target};
use crate::graph::{Clamp, DType, Data, Node, Op};
use crate::passes::op_name;
use kinglet::format::{self, OpCode};
use kinglet::kernels::Geometry;
use kinglet::kernels::octet::{self, Runs};
use kinglet::kernels::planes;
use kinglet::kernels::scratch::{self, Form};
use kinglet::requantize::Output;
use std::collections::HashMap;
use zerocopy::little_endian::F64;

/// An int8 layer.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) code: OpCode,
    pub(super) int8: format::Int8,
    pub(super) constants: Packed,
    /// Multipliers in TensorFlow Lite's rounding, in the place of those among the constants.
    pub(super) scales: Option<Scales>,
    pub(super) needs: Needs,
    /// Of a convolution.
    pub(super) geometry: Option<Geometry>,
    /// Whether it is a convolution of several groups.
    pub(super) grouped: bool,
    /// How the weights are coded, if they are.
    pub(super) coding: Option<Coding>,
}

/// All int8 layers, by node, and the convolutions that add a residual.
#[derive(Clone, Default)]
pub(super) struct Layers {
    pub(super) layers: HashMap<usize, Layer>,
    pub(super) residuals: Residuals,
    /// How results are rounded.
    pub(super) rounding: Rounding,
    /// Whether float layers are packed in panels.
    pub(super) panels: bool,
}

impl Layers {
    /// What each layer wants of the memory.
    pub(super) fn needs(&self) -> HashMap<usize, Needs> {
        self.layers.iter().map(|(&t, l)| (t, l.needs)).collect()
    }
}

/// Whether node `t` has a kernel that adds a residual to its results.
pub(super) fn can_add(facts: Facts<'_>, t: usize, options: &CompileOptions) -> bool {
    let node = &facts.graph.nodes[t];
    options.rounding == Rounding::Kinglet
        && matches!(node.op, Op::Conv2d { groups: 1, .. })
        && match options.target.patches() {
            true => fits(facts, node),
            false => octets(options) && narrow(facts, node),
        }
}

/// Whether layers are packed for vectors: those of the host, unless they are to be plain.
fn vectors(options: &CompileOptions) -> bool {
    options.target == Target::Host && options.kernels != Kernels::Plain
}

/// Whether int8 layers have octet weights: not if they are to be coded.
fn octets(options: &CompileOptions) -> bool {
    vectors(options) && options.weights != StoredWeights::Coded
}

/// Chooses a kernel for every int8 layer of a channels-last graph.
pub(super) fn choose(facts: Facts<'_>, bands: &Bands, options: &CompileOptions) -> Result<Layers> {
    let target = options.target;
    let residuals = residual::find(facts.graph, bands, |t| can_add(facts, t, options));
    let mut layers = HashMap::new();
    for (t, node) in facts.graph.nodes.iter().enumerate() {
        if facts.value(node.output).dtype != DType::I8 {
            continue;
        }
        let chooser = Chooser {
            facts,
            node,
            target,
            kernels: options.kernels,
            rounding: options.rounding,
            octets: octets(options),
        };
        let layer = match &node.op {
            Op::Conv2d {
                window,
                groups,
                clamp,
            } => {
                let geometry = Geometry::new(&facts.window(node, window)?);
                match options.rounding {
                    Rounding::Tflite => chooser.tflite(*groups, *clamp, geometry)?,
                    Rounding::Kinglet => {
                        chooser.conv(geometry, *groups, *clamp, residuals.contains_key(&t))?
                    }
                }
            }
            Op::FullyConnected { clamp } => match options.rounding {
                Rounding::Tflite => chooser.tflite(1, *clamp, None)?,
                Rounding::Kinglet => chooser.fully_connected(*clamp)?,
            },
            _ => continue,
        };
        layers.insert(t, layer);
    }
    Ok(Layers {
        layers,
        residuals,
        rounding: options.rounding,
        panels: vectors(options),
    })
}

/// Whether the node's weights are constants of at most 16 bits.
fn fits(facts: Facts<'_>, node: &Node) -> bool {
    match &facts.value(node.inputs[1]).data {
        Some(Data::I8(_)) => true,
        Some(Data::I32(v)) => v.iter().all(|&w| i16::try_from(w).is_ok()),
        _ => false,
    }
}

/// The plain constants of a convolution of one group or a fully connected layer; `None` for all other nodes.
pub(super) fn plain_constants(facts: Facts<'_>, node: &Node) -> Result<Option<Packed>> {
    let clamp = match node.op {
        Op::Conv2d {
            groups: 1, clamp, ..
        }
        | Op::FullyConnected { clamp } => clamp,
        _ => return Ok(None),
    };
    let chooser = Chooser {
        facts,
        node,
        target: Target::Host,
        kernels: Kernels::Plain,
        rounding: Rounding::Kinglet,
        octets: false,
    };
    let shape = &facts.value(node.inputs[1]).shape;
    let weights = match shape.len() {
        4 => transpose_data(&chooser.weights()?, shape, &[0, 2, 3, 1]),
        _ => chooser.weights()?,
    };
    let (_, bias, multipliers) = chooser.numbers(shape[0], clamp)?;
    Ok(Some(plain(weights, bias, multipliers)))
}

/// Least and greatest value of each output channel's accumulator over all inputs; `None` for nodes that are no int8 layers.
pub(super) fn accumulators(
    facts: Facts<'_>,
    node: &Node,
    rounding: Rounding,
) -> Result<Option<Vec<[i32; 2]>>> {
    let clamp = match node.op {
        Op::Conv2d { clamp, .. } | Op::FullyConnected { clamp } => clamp,
        _ => return Ok(None),
    };
    if facts.value(node.output).dtype != DType::I8 {
        return Ok(None);
    }
    let chooser = Chooser {
        facts,
        node,
        target: Target::Host,
        kernels: Kernels::Plain,
        rounding,
        octets: false,
    };
    let weights = chooser.weights()?;
    let channels = facts.value(node.inputs[1]).shape[0];
    let (_, bias, _) = chooser.numbers(channels, clamp)?;
    let taps = weights.len().checked_div(channels).unwrap_or(0).max(1);
    let range = |(w, &bias): (&[i16], &i32)| {
        let sum = |ends: [i32; 2]| -> i32 {
            let end = |&w: &i16| i32::from(w) * ends[usize::from(w < 0)];
            w.iter().map(end).sum()
        };
        // The proof against overflow is about the same sums, with greater magnitudes.
        [bias + sum([-128, 127]), bias + sum([127, -128])]
    };
    Ok(Some(weights.chunks(taps).zip(&bias).map(range).collect()))
}

/// Whether the node's weights are bytes.
fn narrow(facts: Facts<'_>, node: &Node) -> bool {
    match &facts.value(node.inputs[1]).data {
        Some(Data::I8(_)) => true,
        Some(Data::I32(v)) => v.iter().all(|&w| i8::try_from(w).is_ok()),
        _ => false,
    }
}

struct Chooser<'g> {
    facts: Facts<'g>,
    node: &'g Node,
    target: Target,
    kernels: Kernels,
    rounding: Rounding,
    octets: bool,
}

/// Share of its instructions that a layer must save to run by another kernel than the target's own: that kernel's code has to
/// be in the firmware, too.
pub(super) const WORTHWHILE: f64 = 0.1;

impl Chooser<'_> {
    /// Whether the target's own kernel is taken, and not the one for plain weights.
    fn own(&self, own: OpCode, plain: OpCode) -> bool {
        match self.kernels {
            Kernels::Packed => true,
            Kernels::Plain => false,
            Kernels::Cheapest => {
                let work = Work::of(self.facts.graph, self.node);
                let costs = cost::costs(self.target);
                let of = |code: OpCode| costs?.step(code.name(), &work);
                match (of(own), of(plain)) {
                    (Some(own), Some(plain)) => plain as f64 > own as f64 * (1.0 - WORTHWHILE),
                    _ => true,
                }
            }
        }
    }

    fn conv(
        &self,
        geometry: Option<Geometry>,
        groups: usize,
        clamp: Clamp,
        adds: bool,
    ) -> Result<Layer> {
        let shape = &self.facts.value(self.node.inputs[1]).shape;
        let depthwise = groups > 1 && shape[1] == 1;
        let packing = if depthwise {
            [2, 3, 0, 1]
        } else {
            [0, 2, 3, 1]
        };
        let weights = transpose_data(&self.weights()?, shape, &packing);
        let (int8, bias, multipliers) = self.numbers(shape[0], clamp)?;
        let narrow = weights.iter().all(|&w| i8::try_from(w).is_ok());
        if let Some(g) = geometry.filter(|_| self.octets)
            && let Some((code, constants, scratch)) =
                self.octet_conv(&g, groups, adds, &weights, &bias, &multipliers)?
        {
            return Ok(Layer {
                code,
                int8,
                constants,
                needs: Needs {
                    scratch,
                    in_place: false,
                },
                geometry,
                grouped: groups != 1,
                scales: None,
                coding: None,
            });
        }
        let patches = self.target.patches();
        let scratch_of = |form| geometry.as_ref().and_then(|g| scratch::conv(form, g, adds));
        if patches && groups == 1 {
            let form = match self.target.form() {
                _ if !narrow && (adds || self.kernels != Kernels::Plain) => Form::Wide,
                form if narrow && self.own(conv_code(form, adds), conv_code(Form::Plain, adds)) => {
                    form
                }
                _ => Form::Plain,
            };
            let packed = match form {
                // Taps by columns.
                Form::Helium => packing::pack(
                    form,
                    &transpose_data(&self.weights()?, shape, &[0, 3, 2, 1]),
                    &bias,
                    &multipliers,
                ),
                _ => packing::pack(form, &weights, &bias, &multipliers),
            };
            let form = if packed.is_some() { form } else { Form::Plain };
            let by_patches = form != Form::Plain || narrow;
            return Ok(Layer {
                code: match by_patches {
                    true => conv_code(form, adds),
                    false => OpCode::ConvI8W16,
                },
                int8,
                constants: packed.unwrap_or_else(|| plain(weights, bias, multipliers)),
                needs: Needs {
                    scratch: scratch_of(form).filter(|_| by_patches).unwrap_or(0),
                    in_place: by_patches && !adds && geometry.is_some_and(|g| g.pointwise()),
                },
                geometry,
                grouped: false,
                scales: None,
                coding: None,
            });
        }
        let fits = |form| geometry.as_ref().and_then(|g| scratch::depthwise(form, g));
        let form = match self.target.form() {
            Form::Helium if fits(Form::Helium).is_some() => Form::Helium,
            _ => Form::Plain,
        };
        let own = match form {
            Form::Helium => OpCode::DepthwiseI8Helium,
            _ if geometry.is_some_and(|g| planes::is_small(&g)) => OpCode::DepthwiseI8Small,
            _ => OpCode::DepthwiseI8Planes,
        };
        let rows = fits(form)
            .filter(|_| patches && narrow && depthwise && self.own(own, OpCode::DepthwiseI8));
        let packed = match form {
            Form::Helium if rows.is_some() => {
                packing::pack_depthwise(&self.weights()?, &bias, &multipliers)
            }
            _ => None,
        };
        Ok(Layer {
            code: match (depthwise, narrow) {
                (false, true) => OpCode::ConvI8,
                (false, false) => OpCode::ConvI8W16,
                (true, true) if rows.is_some() => own,
                (true, true) => OpCode::DepthwiseI8,
                (true, false) => OpCode::DepthwiseI8W16,
            },
            int8,
            constants: packed.unwrap_or_else(|| plain(weights, bias, multipliers)),
            needs: Needs {
                scratch: rows.unwrap_or(0),
                in_place: rows.is_some()
                    && geometry.is_some_and(|g| scratch::depthwise_in_place(form, &g)),
            },
            geometry,
            grouped: groups != 1,
            scales: None,
            coding: None,
        })
    }

    /// Operator, constants and scratch of a convolution with octet weights; `weights` are those of one group, `[out][kh][kw][in]`.
    fn octet_conv(
        &self,
        g: &Geometry,
        groups: usize,
        adds: bool,
        weights: &[i16],
        bias: &[i32],
        multipliers: &[f32],
    ) -> Result<Option<(OpCode, Packed, usize)>> {
        let one = groups == 1;
        let packed = if one {
            Runs::of(g).and_then(|runs| packing::pack_octet(runs, weights, bias, multipliers))
        } else if groups == g.input[2].get() && octet::is_depthwise(g) {
            packing::pack_depthwise_octet(g, &self.weights()?, bias, multipliers)
        } else {
            None
        };
        let scratch = match one {
            true => scratch::conv(Form::Octet, g, adds),
            false => scratch::depthwise(Form::Octet, g),
        };
        let code = match one {
            true => conv_code(Form::Octet, adds),
            false => OpCode::DepthwiseI8Octet,
        };
        Ok(packed
            .zip(scratch)
            .map(|(packed, scratch)| (code, packed, scratch)))
    }

    fn fully_connected(&self, clamp: Clamp) -> Result<Layer> {
        let [outputs, inputs] = self.facts.value(self.node.inputs[1]).shape[..] else {
            return Err(self
                .facts
                .unsupported(self.node, "weights must be a matrix"));
        };
        let weights = self.weights()?;
        let (int8, bias, multipliers) = self.numbers(outputs, clamp)?;
        let narrow = weights.iter().all(|&w| i8::try_from(w).is_ok());
        let form = match self.target.form() {
            Form::Plain if self.octets && narrow => Form::Octet,
            Form::Plain => Form::Plain,
            _ if !narrow && self.kernels != Kernels::Plain => Form::Wide,
            form if narrow && self.own(dense_code(form, true), dense_code(Form::Plain, true)) => {
                form
            }
            _ => Form::Plain,
        };
        let mut packed = match form {
            Form::Octet => packing::pack_octet(Runs::row(inputs), &weights, &bias, &multipliers),
            _ => packing::pack(form, &weights, &bias, &multipliers),
        };
        let form = if packed.is_some() { form } else { Form::Plain };
        if let (Some(packed), Form::Split) = (&mut packed, form)
            && multipliers
                .iter()
                .all(|m| m.to_bits() == multipliers[0].to_bits())
        {
            // One block stands for all.
            packed.multipliers.truncate(4);
        }
        Ok(Layer {
            code: dense_code(form, narrow),
            int8,
            constants: packed.unwrap_or_else(|| plain(weights, bias, multipliers)),
            needs: Needs {
                scratch: scratch::dense(form, inputs, outputs).unwrap_or(0),
                in_place: false,
            },
            geometry: None,
            grouped: false,
            scales: None,
            coding: None,
        })
    }

    /// A layer in TensorFlow Lite's rounding: plain weights, no working memory.
    fn tflite(&self, groups: usize, clamp: Clamp, geometry: Option<Geometry>) -> Result<Layer> {
        let (facts, node) = (self.facts, self.node);
        let value = facts.value(node.inputs[1]);
        let (shape, scales) = (&value.shape, value.quantization.as_ref());
        let conv = geometry.is_some();
        let depthwise = conv && groups > 1 && shape[1] == 1;
        let weights = match (conv, depthwise) {
            (false, _) => self.weights()?,
            (true, false) => transpose_data(&self.weights()?, shape, &[0, 2, 3, 1]),
            (true, true) => transpose_data(&self.weights()?, shape, &[2, 3, 0, 1]),
        };
        let (mut int8, bias, _) = self.numbers(shape[0], clamp)?;
        let x = facts.affine(node, node.inputs[0])?;
        let y = facts.affine(node, node.output)?;
        let (min, max) = tflite::bounds(y, clamp);
        (int8.min, int8.max) = (min.into(), max.into());
        let scales = scales.map_or(&[][..], |q| &q.scales);
        let scales = tflite::layer_scales(x.scale, scales, y.scale, shape[0]);
        let fixed = |scale| Fixed::of(&node.name, op_name(&node.op), scale).map(Fixed::record);
        let scales = match conv {
            true => Scales::Fixed(scales.into_iter().map(fixed).collect::<Result<_>>()?),
            false => Scales::Double(scales.into_iter().map(F64::new).collect()),
        };
        let constants = plain(weights, bias, Vec::new());
        let narrow = matches!(constants.weights, Weights::I8(_));
        Ok(Layer {
            code: match (conv, depthwise, narrow) {
                (false, _, true) => OpCode::FullyConnectedI8Tflite,
                (false, _, false) => OpCode::FullyConnectedI8W16Tflite,
                (true, false, true) => OpCode::ConvI8Tflite,
                (true, false, false) => OpCode::ConvI8W16Tflite,
                (true, true, true) => OpCode::DepthwiseI8Tflite,
                (true, true, false) => OpCode::DepthwiseI8W16Tflite,
            },
            int8,
            constants,
            scales: Some(scales),
            needs: Needs {
                scratch: 0,
                in_place: false,
            },
            geometry,
            grouped: groups != 1,
            coding: None,
        })
    }

    /// Symmetric weights; those that were asymmetric may need nine bits.
    fn weights(&self) -> Result<Vec<i16>> {
        let unsupported = |reason| self.facts.unsupported(self.node, reason);
        match &self.facts.value(self.node.inputs[1]).data {
            Some(Data::I8(v)) => Ok(v.iter().map(|&w| w.into()).collect()),
            Some(Data::I32(v)) => v
                .iter()
                .map(|&w| i16::try_from(w))
                .collect::<std::result::Result<_, _>>()
                .map_err(|_| {
                    unsupported("quantised weights must fit 16 bits around their zero point")
                }),
            Some(_) => Err(unsupported("weights must be f32 or int8")),
            None => Err(unsupported("weights must be constants")),
        }
    }

    /// Zero points and bounds, folded bias and multipliers of a layer with weights `[channels, …]`.
    fn numbers(&self, channels: usize, clamp: Clamp) -> Result<(format::Int8, Vec<i32>, Vec<f32>)> {
        let (facts, node) = (self.facts, self.node);
        let (x, y) = (
            facts.affine(node, node.inputs[0])?,
            facts.affine(node, node.output)?,
        );
        let scales = match &facts.value(node.inputs[1]).quantization {
            Some(q) if q.zero_point == 0 && (q.scales.len() == 1 || q.scales.len() == channels) => {
                &q.scales
            }
            _ => {
                return Err(facts.unsupported(
                    node,
                    "int8 weights need symmetric per-channel or per-tensor scales",
                ));
            }
        };
        let bias = match node.inputs.get(2).map(|&b| facts.value(b).data.clone()) {
            None => vec![0; channels],
            Some(Some(Data::I32(data))) if data.len() == channels => data,
            _ => {
                return Err(facts.unsupported(
                    node,
                    "the bias must be a constant int32, one per output channel",
                ));
            }
        };
        // In ONNX's order, where each channel's weights lie together.
        let weights = self.weights()?;
        let folded = fold_zero_point(&node.name, &weights, &bias, x.zero_point)?;
        let int8 = facts.int8(node, x, y, clamp)?;
        let mut multipliers = multipliers(x.scale, scales, y.scale, channels);
        let mut bias = folded;
        let output = Output::from(&int8);
        let taps = weights.len().checked_div(channels).unwrap_or(0).max(1);
        let channels = weights.chunks(taps).zip(&mut bias).zip(&mut multipliers);
        for ((weights, bias), multiplier) in channels {
            // The bias alone may be huge, as where training has switched a channel off; the result is a small number. A quarter
            // is a multiplier that integers take, too.
            if self.rounding == Rounding::Kinglet && weights.iter().all(|&w| w == 0) {
                let result = output.requantize(*bias, *multiplier);
                (*bias, *multiplier) = ((i32::from(result) - y.zero_point) * 4, 0.25);
            }
        }
        Ok((int8, bias, multipliers))
    }
}

/// The operator of a convolution of one group, with bytes as weights, that adds a residual or not.
fn conv_code(form: Form, adds: bool) -> OpCode {
    match (form, adds) {
        (Form::Plain, false) => OpCode::ConvI8,
        (Form::Plain, true) => OpCode::ConvAddI8,
        (Form::Split, false) => OpCode::ConvI8Split,
        (Form::Split, true) => OpCode::ConvAddI8Split,
        (Form::Quad, false) => OpCode::ConvI8Quad,
        (Form::Quad, true) => OpCode::ConvAddI8Quad,
        (Form::Wide, false) => OpCode::ConvI8Wide,
        (Form::Wide, true) => OpCode::ConvAddI8Wide,
        (Form::Sparse, false) => OpCode::ConvI8Sparse,
        (Form::Sparse, true) => OpCode::ConvAddI8Sparse,
        (Form::Helium, false) => OpCode::ConvI8Helium,
        (Form::Helium, true) => OpCode::ConvAddI8Helium,
        (Form::Octet, false) => OpCode::ConvI8Octet,
        (Form::Octet, true) => OpCode::ConvAddI8Octet,
    }
}

/// The operator of a fully connected layer.
fn dense_code(form: Form, narrow: bool) -> OpCode {
    match (form, narrow) {
        (Form::Split, _) => OpCode::FullyConnectedI8Split,
        (Form::Quad, _) => OpCode::FullyConnectedI8Quad,
        (Form::Helium, _) => OpCode::FullyConnectedI8Helium,
        (Form::Wide, _) => OpCode::FullyConnectedI8Wide,
        (Form::Sparse, _) => OpCode::FullyConnectedI8Sparse,
        (Form::Octet, _) => OpCode::FullyConnectedI8Octet,
        (Form::Plain, true) => OpCode::FullyConnectedI8,
        (Form::Plain, false) => OpCode::FullyConnectedI8W16,
    }
}

/// Constants in the order that the reference kernels read.
fn plain(weights: Vec<i16>, bias: Vec<i32>, multipliers: Vec<f32>) -> Packed {
    let narrow: std::result::Result<_, _> = weights.iter().map(|&w| i8::try_from(w)).collect();
    Packed {
        weights: narrow.map_or(Weights::I16(weights), Weights::I8),
        bias,
        multipliers,
    }
}
