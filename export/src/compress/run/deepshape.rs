//! `deepshape`: every layer's weights are dealt out anew, then training recovers what that cost.

use super::session::Session;
use super::{Product, StageError};
use crate::compress::gaussian::rate::weight_tensors;
use crate::compress::gaussian::{DeepShape, deepshape};
use crate::compress::recipe::DeepShapeStage;
use crate::graph::{Data, Graph, ValueId};
use serde_json::json;
use std::collections::BTreeSet;

pub(super) fn run(
    stage: &DeepShapeStage,
    graph: &mut Graph,
    session: &mut Session<'_>,
) -> Result<Product, StageError> {
    let ids: BTreeSet<ValueId> = weight_tensors(graph).collect();
    let (mut moved, mut count) = (0, 0);
    for id in ids {
        if let Some(Data::F32(weights)) = &mut graph[id].data {
            let options = DeepShape {
                shape_factor: stage.shape_factor,
                scale_factor: stage.scale_factor,
                ..DeepShape::for_layer(weights, stage.relative_step)
            };
            moved += deepshape(weights, &options);
            count += weights.len();
        }
    }
    let after = session.accuracy(graph)?;
    if let Some(training) = &stage.training {
        session.train_graph("training", graph, training)?;
    }
    Ok(Product::of([
        ("weights moved", json!(moved)),
        ("weights", json!(count)),
        ("accuracy after reshaping", json!(after)),
    ]))
}
