//! What decoding costs, beside what the layer's kernel costs.
//!
//! The kernel's part is its operator's from the table of measurements, once for each tile. Decoding has three factors a target,
//! measured on its emulated board as the difference between a plan with coded weights and the same plan with plain ones
//! (`docs/coded.md` says how).

use super::encode::{Codes, Source};
use crate::compile::cost::{self, TargetCosts, Work};
use crate::compile::Target;
use crate::graph::Graph;

/// Bytes of stack that a coded layer takes more than the same layer with plain weights.
pub const STACK: u64 = 256;

/// Instructions of decoding.
struct Decoding {
    /// The decoder's table and what else happens once a layer.
    layer: f64,
    /// Two weights whose codes are found with one look.
    short: f64,
    /// Two weights that are read one by one.
    long: f64,
    /// A byte that is moved between a tile's results and the output.
    moved: f64,
}

fn decoding(target: Target) -> Decoding {
    let [layer, short, long, moved] = match target {
        Target::CortexM0 => [9000.0, 14.0, 80.0, 8.0],
        Target::CortexM55 => [4000.0, 11.0, 35.0, 4.0],
        _ => [4000.0, 11.0, 35.0, 4.0],
    };
    Decoding {
        layer,
        short,
        long,
        moved,
    }
}

/// Costs of a target that has measurements.
pub(super) struct Costs {
    kernels: &'static TargetCosts,
    decoding: Decoding,
}

impl Costs {
    pub(super) fn new(target: Target) -> Option<Costs> {
        Some(Costs {
            kernels: cost::costs(target)?,
            decoding: decoding(target),
        })
    }

    /// Instructions of node `t` with plain weights and with coded ones.
    pub(super) fn layer(
        &self,
        graph: &Graph,
        code: &str,
        t: usize,
        source: &Source,
        tile: usize,
        codes: &Codes,
    ) -> Option<[u64; 2]> {
        let work = Work::of(graph, &graph.nodes[t]);
        let channels = source.shape.channels;
        let plain = self.kernels.step(code, &work)?;
        let part = |n: usize, all: u64| all * n as u64 / channels as u64;
        let mut kernel = 0;
        let mut first = 0;
        while first < channels {
            let count = tile.min(channels - first);
            let work = Work {
                outputs: part(count, work.outputs),
                macs: part(count, work.macs),
                ..work
            };
            kernel += self.kernels.step(code, &work)?;
            first += count;
        }
        let moves = match (tile < channels, source.adds) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        };
        let d = &self.decoding;
        let decoding = d.layer
            + d.short * codes.short as f64
            + d.long * codes.long as f64
            + d.moved * (moves * work.outputs) as f64;
        Some([plain, kernel + decoding as u64])
    }
}
