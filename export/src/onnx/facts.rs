//! Shapes and constants that tract can work out.
//!
//! Our own shape inference covers every operator that we run. tract adds two things: the values of constant
//! subexpressions (exporters compute target shapes with Shape, Gather, Concat …), and a second opinion on every shape.
//! What it cannot analyse is simply absent here; whoever needs a value that is absent says why.

use crate::graph::Data;
use crate::limits;
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use tract_onnx::tract_hir::infer::Factoid;

/// What tract found, by ONNX value name.
#[derive(Default)]
pub(super) struct Facts {
    shapes: HashMap<String, Vec<usize>>,
    constants: HashMap<String, (Vec<usize>, Data)>,
    /// Why the analysis stopped early, if it did.
    pub(super) failure: Option<String>,
}

impl Facts {
    pub(super) fn shape(&self, value: &str) -> Option<&[usize]> {
        self.shapes.get(value).map(Vec::as_slice)
    }

    pub(super) fn constant(&self, value: &str) -> Option<&(Vec<usize>, Data)> {
        self.constants.get(value)
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; a panic inside becomes an error and prints nothing. tract panics on some malformed models.
fn contain_panics<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                previous(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    QUIET.set(before);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        format!("shape inference panicked: {}", text.unwrap_or("no message"))
    })
}

/// Analyses a model whose inputs have the given shapes. `wanted` selects the values whose constants are kept.
pub(super) fn analyse(
    proto: &ModelProto,
    inputs: &[(String, Vec<usize>)],
    wanted: impl Fn(&str) -> bool,
) -> Facts {
    let mut facts = Facts::default();
    let outcome = contain_panics(|| -> TractResult<()> {
        // Recorded shapes may be symbolic, or belong to another input shape.
        let parsed = tract_onnx::onnx()
            .with_ignore_value_info(true)
            .parse(proto, None)?;
        let mut model = parsed.model;
        for outlet in model.input_outlets()?.to_vec() {
            let name = model.node(outlet.node).name.clone();
            if let Some((_, shape)) = inputs.iter().find(|(n, _)| *n == name) {
                let fact = model
                    .outlet_fact(outlet)?
                    .clone()
                    .with_shape(shape.as_slice());
                model.set_outlet_fact(outlet, fact)?;
            }
        }
        let analysed = contain_panics(|| infer(&mut model));
        facts.failure = match analysed {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(panic) => Some(panic),
        };
        for (name, &outlet) in &parsed.outlets_by_name {
            let Ok(fact) = model.outlet_fact(outlet) else {
                continue;
            };
            if let Some(shape) = fact.shape.as_concrete_finite().ok().flatten() {
                facts.shapes.insert(name.clone(), shape.to_vec());
            }
            if wanted(name)
                && let Some(tensor) = fact.value.concretize()
                && let Some(data) = to_data(&tensor)
            {
                facts
                    .constants
                    .insert(name.clone(), (tensor.shape().to_vec(), data));
            }
        }
        Ok(())
    });
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => facts.failure = Some(format!("{error:#}")),
        Err(panic) => facts.failure = Some(panic),
    }
    facts
}

/// Infers all facts that follow from those of the inputs, visiting nodes again until nothing changes.
///
/// tract's own analysis computes every node whose operands are constant, and then looks at how large the result is: a file
/// of 200 bytes can have it allocate terabytes. Here the shape is known first.
fn infer(model: &mut InferenceModel) -> TractResult<()> {
    let mut order = model.eval_order()?;
    let ordered: HashSet<usize> = order.iter().copied().collect();
    order.extend((0..model.nodes().len()).filter(|n| !ordered.contains(n)));
    let rank: HashMap<usize, usize> = order.iter().enumerate().map(|(i, &n)| (n, i)).collect();
    let mut waiting: BTreeSet<usize> = (0..order.len()).collect();
    // Facts only ever become more exact; the bound is for those that take turns.
    let mut visits = VISITS * order.len();
    while let Some(next) = waiting.pop_first() {
        visits = match visits.checked_sub(1) {
            Some(rest) => rest,
            None => return Err(TractError::msg("inference does not end")),
        };
        let node = order[next];
        let changed = visit(model, node);
        let changed = changed.map_err(|e| e.context(format!("at node {}", model.node(node))))?;
        for outlet in changed {
            let readers = &model.node(outlet.node).outputs[outlet.slot].successors;
            let near = readers.iter().map(|r| r.node).chain([outlet.node]);
            waiting.extend(near.filter(|&n| n != node).filter_map(|n| rank.get(&n)));
        }
    }
    Ok(())
}

/// Visits of one node, on average.
const VISITS: usize = 64;

/// Refines the facts around one node, and computes its results if they are constant and small.
fn visit(model: &mut InferenceModel, node: usize) -> TractResult<Vec<OutletId>> {
    let seen = model
        .node(node)
        .op
        .observe_outlets(model, model.node(node))?;
    let fact = |outlet: &OutletId| model.outlet_fact(*outlet).cloned();
    let inlets = model.node(node).inputs.clone();
    let outlets: Vec<_> = (0..model.node(node).outputs.len())
        .map(|slot| OutletId::new(node, slot))
        .collect();
    let read = |outlets: &[OutletId]| -> TractResult<Vec<InferenceFact>> {
        outlets.iter().map(fact).collect()
    };
    let [inputs, outputs, observed] = [read(&inlets)?, read(&outlets)?, read(&seen)?];
    fn all(facts: &[InferenceFact]) -> TVec<&InferenceFact> {
        facts.iter().collect()
    }
    let op = &mut model.node_mut(node).op;
    let mut found = op.infer_facts(all(&inputs), all(&outputs), all(&observed))?;
    if is_folded(op.name().as_ref(), &found.0, &found.1) {
        found = op.infer(all(&inputs), all(&outputs), all(&observed))?;
    }
    let mut changed = Vec::new();
    let places = inlets.iter().chain(&outlets).chain(&seen);
    for (&outlet, found) in places.zip(found.0.iter().chain(&found.1).chain(&found.2)) {
        let known = model.outlet_fact(outlet)?;
        let better = found.unify(known)?;
        if better != *known {
            model.set_outlet_fact(outlet, better)?;
            changed.push(outlet);
        }
    }
    Ok(changed)
}

/// Whether an operator is computed here: its operands are constant, its results have known and moderate sizes, and its work
/// is not more than reading and writing them.
fn is_folded(op: &str, inputs: &[InferenceFact], outputs: &[InferenceFact]) -> bool {
    let moderate = |fact: &InferenceFact| {
        let shape = fact.shape.as_concrete_finite().ok().flatten();
        shape.is_some_and(|s| limits::elements(&s) <= limits::FOLDED_ELEMENTS)
    };
    let constant = |fact: &InferenceFact| fact.value.is_concrete() && moderate(fact);
    let lower = op.to_ascii_lowercase();
    let heavy = HEAVY.iter().any(|name| lower.contains(name));
    !inputs.is_empty() && inputs.iter().all(constant) && outputs.iter().all(moderate) && !heavy
}

/// Operators of which each result takes many operands, by a part of tract's name; nobody computes shapes with them.
const HEAVY: [&str; 8] = [
    "conv", "matmul", "einsum", "gemm", "pool", "lstm", "gru", "rnn",
];

/// The contents of a tract tensor, for the element types that the graph knows.
pub(crate) fn to_data(tensor: &Tensor) -> Option<Data> {
    let cast = |dt| tensor.cast_to_dt(dt).ok();
    match tensor.datum_type() {
        // tract has the default of ConstantOfShape, a float32 zero, as F64.
        DatumType::F32 | DatumType::F16 | DatumType::F64 => {
            let t = cast(DatumType::F32)?;
            Some(Data::F32(
                t.try_as_plain_ram().ok()?.as_slice::<f32>().ok()?.to_vec(),
            ))
        }
        DatumType::I64 | DatumType::TDim => {
            let t = cast(DatumType::I64)?;
            Some(Data::I64(
                t.try_as_plain_ram().ok()?.as_slice::<i64>().ok()?.to_vec(),
            ))
        }
        DatumType::I32 => Some(Data::I32(
            tensor
                .try_as_plain_ram()
                .ok()?
                .as_slice::<i32>()
                .ok()?
                .to_vec(),
        )),
        DatumType::I8 => Some(Data::I8(
            tensor
                .try_as_plain_ram()
                .ok()?
                .as_slice::<i8>()
                .ok()?
                .to_vec(),
        )),
        DatumType::U8 => Some(Data::U8(
            tensor
                .try_as_plain_ram()
                .ok()?
                .as_slice::<u8>()
                .ok()?
                .to_vec(),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        assert_eq!(contain_panics(|| 3), Ok(3));
        let error = contain_panics(|| -> u8 { panic!("odd {}", 1) }).unwrap_err();
        assert!(error.contains("odd 1"), "{error}");
    }
}
