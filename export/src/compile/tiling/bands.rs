//! Values that are bands of rows of others: how a tiled graph differs from an ordinary one.

use crate::graph::ValueId;
use std::collections::HashMap;

/// How the values of a tiled graph hang together. Empty for a graph that is not tiled.
#[derive(Clone, Default, Debug)]
pub(in crate::compile) struct Bands {
    /// Values that are a part of another one's memory: of which, from which element on.
    pub(in crate::compile) views: HashMap<ValueId, (ValueId, usize)>,
    /// Values that would like to live where another one lives.
    pub(in crate::compile) in_place: HashMap<ValueId, ValueId>,
    /// Bands of a tensor of the untiled graph: of which, from which element on.
    pub(in crate::compile) tensors: HashMap<ValueId, (ValueId, usize)>,
}
