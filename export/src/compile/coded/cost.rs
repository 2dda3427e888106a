//! What decoding costs, beside what the layer's kernel costs.
//!
//! The kernel's part is its operator's from the table of measurements, once for each tile. Decoding has factors of its own,
//! from the differences between ResNet-8's layers with coded weights and with plain ones, as `kinglet bench --profile` counts
//! them (`docs/coded.md`).

use super::encode::{Codes, Source};
use crate::compile::Target;
use crate::compile::cost::{self, TargetCosts, Work};
use crate::graph::Graph;

/// Bytes of stack that a coded layer takes more than the same layer with plain weights.
pub const STACK: u64 = 512;

/// Instructions of decoding.
struct Decoding {
    /// The decoder's table and what else happens once a layer.
    layer: f64,
    /// Two weights whose codes are found with one look.
    short: f64,
    /// Two weights that are read one by one.
    long: f64,
    /// A tap of a pixel that is gathered again for a tile that is not the first one.
    again: f64,
    /// A byte that is moved between a tile's results and the output.
    moved: f64,
}

/// `None` for targets that were not measured. The cores without Helium have the instructions of the Cortex-M4F.
fn decoding(target: Target) -> Option<Decoding> {
    let [layer, short, long, again, moved] = match target {
        Target::CortexM3 | Target::CortexM4f | Target::CortexM7 | Target::CortexM33 => {
            [7000.0, 13.0, 34.0, 1.3, 4.0]
        }
        Target::CortexM55 => [6000.0, 13.0, 36.0, 0.3, 4.0],
        Target::Host | Target::CortexM0 | Target::Riscv32imc => return None,
    };
    Some(Decoding {
        layer,
        short,
        long,
        again,
        moved,
    })
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
            decoding: decoding(target)?,
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
            + d.again * (channels.div_ceil(tile) - 1) as f64 * work.gathered as f64
            + d.moved * (moves * work.outputs) as f64;
        Some([plain, kernel + decoding as u64])
    }
}
