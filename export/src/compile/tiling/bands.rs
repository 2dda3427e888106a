//! Values that are parts of others: bands of rows of a tiled graph, and what is concatenated.

use crate::graph::ValueId;
use std::collections::HashMap;

/// How the values of a graph hang together. A graph that is not tiled has the views of its concatenations only.
#[derive(Clone, Default, Debug)]
pub(in crate::compile) struct Bands {
    /// Values that are a part of another one's memory: of which, from which element on.
    pub(in crate::compile) views: HashMap<ValueId, (ValueId, usize)>,
    /// Values that would like to live where another one lives.
    pub(in crate::compile) in_place: HashMap<ValueId, ValueId>,
    /// Bands of a tensor of the untiled graph: of which, from which element on.
    pub(in crate::compile) tensors: HashMap<ValueId, (ValueId, usize)>,
}
