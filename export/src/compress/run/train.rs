//! `train`: plain training, from weights drawn anew if the recipe says so.

use super::session::Session;
use super::{Product, StageError};
use crate::compress::gaussian::rate::weight_tensors;
use crate::compress::gaussian::{Fan, Follows, initialize};
use crate::compress::recipe::Train;
use crate::graph::{Data, Graph, ValueId};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::collections::BTreeSet;

pub(super) fn run(
    stage: &Train,
    graph: &mut Graph,
    session: &mut Session<'_>,
) -> Result<Product, StageError> {
    let mut drawn = 0;
    if let Some(initialization) = &stage.initialize {
        let mut random = ChaCha8Rng::seed_from_u64(session.seed_of("initialize"));
        let ids: BTreeSet<ValueId> = weight_tensors(graph).collect();
        for id in ids {
            let value = &mut graph[id];
            if let Some(Data::F32(weights)) = &mut value.data {
                let nu = initialization.shape;
                *weights = initialize(&value.shape, Fan::In, Follows::Relu, nu, &mut random);
                drawn += 1;
            }
        }
    }
    session.train_graph("training", graph, &stage.training)?;
    Ok(Product::of([("tensors drawn anew", json!(drawn))]))
}
