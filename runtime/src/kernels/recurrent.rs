//! Recurrent layers: LSTM, GRU and the plain one, as ONNX defines them with their default activations. What of each gate depends
//! on the inputs was computed before, by a fully connected layer.

use super::elementwise::sigmoid;
use super::parts::parts;
use core::num::NonZeroUsize;

/// A layer over `[steps, batch, gates·hidden]`.
pub struct Recurrent<'a> {
    /// Sequences.
    pub batch: usize,
    /// Hidden size.
    pub hidden: usize,
    /// From the last step to the first.
    pub reverse: bool,
    /// `[gates·hidden][hidden]`.
    pub weights: &'a [f32],
    /// `[hidden]`, of a GRU that resets behind the product; else empty.
    pub bias: &'a [f32],
}

/// Which layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell {
    /// Gates i, o, f, c.
    Lstm,
    /// Gates z, r, h.
    Gru,
    /// One gate.
    Plain,
}

impl Cell {
    /// Number of gates.
    pub const fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Plain => 1,
        }
    }

    /// Number of states: hidden, and an LSTM's cell state.
    pub const fn states(self) -> usize {
        match self {
            Cell::Lstm => 2,
            _ => 1,
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

impl Recurrent<'_> {
    /// Runs over the gates' sums `x`; `y` is `[steps + 1, batch, hidden]`, see [`crate::format::RecurrentF32`].
    #[inline(always)]
    pub fn run(&self, cell: Cell, x: &[f32], initial: &[f32], y: &mut [f32]) -> Option<()> {
        let state = self.batch.checked_mul(self.hidden)?;
        let sums = NonZeroUsize::new(state.checked_mul(cell.gates())?)?;
        let (y, last) = y.split_at_mut_checked(y.len().checked_sub(state)?)?;
        if cell == Cell::Lstm {
            for (c, initial) in last.iter_mut().zip(initial.get(state..)?) {
                *c = *initial;
            }
        }
        let steps = parts(x, sums).count();
        for turn in 0..steps {
            let t = if self.reverse { steps - 1 - turn } else { turn };
            let x = x.get(t.checked_mul(sums.get())?..)?.get(..sums.get())?;
            let start = t.checked_mul(state)?;
            // The state before is a step before, which is behind this one in reverse.
            let (before, from) = y.split_at_mut_checked(start)?;
            let (now, behind) = from.split_at_mut_checked(state)?;
            let h = match (turn, self.reverse) {
                (0, _) => initial.get(..state)?,
                (_, false) => before.get(start.checked_sub(state)?..)?,
                (_, true) => behind.get(..state)?,
            };
            self.step(cell, x, h, now, last)?;
        }
        Some(())
    }

    #[inline(always)]
    fn step(
        &self,
        cell: Cell,
        x: &[f32],
        h: &[f32],
        y: &mut [f32],
        last: &mut [f32],
    ) -> Option<()> {
        let n = NonZeroUsize::new(self.hidden)?;
        let gates = NonZeroUsize::new(self.hidden.checked_mul(cell.gates())?)?;
        let states = parts(h, n).zip(super::parts::parts_mut(y, n));
        let last = super::parts::parts_mut(last, n);
        for ((x, last), (h, y)) in parts(x, gates).zip(last).zip(states) {
            match cell {
                Cell::Lstm => self.lstm(x, h, y, last)?,
                Cell::Gru => self.gru(x, h, y, last)?,
                Cell::Plain => {
                    for (y, (x, w)) in y.iter_mut().zip(x.iter().zip(parts(self.weights, n))) {
                        *y = libm::tanhf(x + dot(w, h));
                    }
                }
            }
        }
        Some(())
    }

    /// Sum of gate `gate` for unit `unit`.
    fn gate(&self, x: &[f32], h: &[f32], gate: usize, unit: usize) -> Option<f32> {
        Some(x.get(gate * self.hidden + unit)? + self.product(h, gate, unit)?)
    }

    fn product(&self, h: &[f32], gate: usize, unit: usize) -> Option<f32> {
        let start = (gate * self.hidden + unit).checked_mul(self.hidden)?;
        Some(dot(self.weights.get(start..)?.get(..self.hidden)?, h))
    }

    fn lstm(&self, x: &[f32], h: &[f32], y: &mut [f32], cells: &mut [f32]) -> Option<()> {
        for (unit, (y, c)) in y.iter_mut().zip(cells).enumerate() {
            let [i, o, f, g] = [
                self.gate(x, h, 0, unit)?,
                self.gate(x, h, 1, unit)?,
                self.gate(x, h, 2, unit)?,
                self.gate(x, h, 3, unit)?,
            ];
            *c = sigmoid(f) * *c + sigmoid(i) * libm::tanhf(g);
            *y = sigmoid(o) * libm::tanhf(*c);
        }
        Some(())
    }

    fn gru(&self, x: &[f32], h: &[f32], y: &mut [f32], reset: &mut [f32]) -> Option<()> {
        for (unit, (reset, h_unit)) in reset.iter_mut().zip(h).enumerate() {
            *reset = sigmoid(self.gate(x, h, 1, unit)?) * h_unit;
        }
        for (unit, y) in y.iter_mut().enumerate() {
            let z = sigmoid(self.gate(x, h, 0, unit)?);
            let own = *x.get(2 * self.hidden + unit)?;
            let candidate = match self.bias.get(unit) {
                // Reset behind the product.
                Some(bias) => {
                    let r = sigmoid(self.gate(x, h, 1, unit)?);
                    own + r * (self.product(h, 2, unit)? + bias)
                }
                None => own + self.product(reset, 2, unit)?,
            };
            *y = (1.0 - z) * libm::tanhf(candidate) + z * *h.get(unit)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_layer_by_hand_in_both_directions() {
        let mut layer = Recurrent {
            batch: 1,
            hidden: 1,
            reverse: false,
            weights: &[0.5],
            bias: &[],
        };
        let x = [1.0, 2.0];
        let mut y = [0.0; 3];
        assert!(layer.run(Cell::Plain, &x, &[0.25], &mut y).is_some());
        let first = libm::tanhf(1.0 + 0.125);
        assert_eq!(y[..2], [first, libm::tanhf(2.0 + first * 0.5)]);
        layer.reverse = true;
        assert!(layer.run(Cell::Plain, &x, &[0.25], &mut y).is_some());
        let first = libm::tanhf(2.0 + 0.125);
        assert_eq!(y[..2], [libm::tanhf(1.0 + first * 0.5), first]);
    }

    #[test]
    fn an_lstm_keeps_its_cell_behind_the_last_step() {
        let layer = Recurrent {
            batch: 1,
            hidden: 1,
            reverse: false,
            weights: &[0.0; 4],
            bias: &[],
        };
        let mut y = [0.0; 2];
        let x = [100.0, 100.0, 100.0, 0.5];
        assert!(layer.run(Cell::Lstm, &x, &[0.0, 3.0], &mut y).is_some());
        let cell = 3.0 + libm::tanhf(0.5);
        assert_eq!(y, [libm::tanhf(cell), cell]);
        assert_eq!(layer.run(Cell::Lstm, &x, &[0.0], &mut y[..0]), None);
    }
}
