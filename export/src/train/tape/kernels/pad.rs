//! Samples with their border around them, so that inner loops know no border.

use crate::train::tensor::Real;

/// Where the rows and columns of a plane lie in a larger or smaller one: shifted by `top` and `left`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    /// Height and width of the plane.
    pub(crate) plane: [usize; 2],
    /// Height and width of the frame.
    pub(crate) frame: [usize; 2],
    /// Where the plane's first row and column lie in the frame.
    pub(crate) at: [usize; 2],
    /// Columns of the frame are stored by their remainder modulo this, so that every so-many-th is beside the next.
    pub(crate) split: usize,
}

impl Frame {
    /// Columns of one remainder.
    pub(crate) fn part(&self) -> usize {
        self.frame[1].div_ceil(self.split)
    }

    /// Elements of a row of the frame.
    pub(crate) fn row_len(&self, channels: usize) -> usize {
        self.part() * self.split * channels
    }

    /// Elements of the frame.
    pub(crate) fn len(&self, channels: usize) -> usize {
        self.frame[0] * self.row_len(channels)
    }

    /// Place of a column of the frame in its row, in pixels.
    pub(crate) fn column(&self, column: usize) -> usize {
        column % self.split * self.part() + column / self.split
    }

    /// Whether the frame is the plane itself.
    pub(crate) fn is_plane(&self) -> bool {
        self.frame == self.plane && self.at == [0, 0] && self.split == 1
    }

    fn shared(&self) -> [usize; 2] {
        std::array::from_fn(|i| self.plane[i].min(self.frame[i].saturating_sub(self.at[i])))
    }

    /// Copies the plane into the frame. The border is not touched: it is zero from the start.
    pub(crate) fn enter<T: Real>(&self, plane: &[T], frame: &mut [T], channels: usize) {
        let [rows, columns] = self.shared();
        if columns == 0 {
            return;
        }
        for row in 0..rows {
            let from = &plane[row * self.plane[1] * channels..][..columns * channels];
            let row_len = self.row_len(channels);
            let to = &mut frame[(row + self.at[0]) * row_len..][..row_len];
            if self.split == 1 {
                to[self.at[1] * channels..][..from.len()].copy_from_slice(from);
                continue;
            }
            for (column, pixel) in from.chunks_exact(channels).enumerate() {
                let at = self.column(column + self.at[1]) * channels;
                to[at..at + channels].copy_from_slice(pixel);
            }
        }
    }

    /// Copies the plane out of the frame; what the frame does not hold becomes zero.
    pub(crate) fn leave<T: Real>(&self, frame: &[T], plane: &mut [T], channels: usize) {
        let [rows, columns] = self.shared();
        let row_len = self.row_len(channels);
        for (row, to) in plane.chunks_exact_mut(self.plane[1] * channels).enumerate() {
            if row >= rows {
                to.fill(T::zero());
                continue;
            }
            let from = &frame[(row + self.at[0]) * row_len..][..row_len];
            for (column, pixel) in to.chunks_exact_mut(channels).enumerate() {
                if column >= columns {
                    pixel.fill(T::zero());
                    continue;
                }
                let at = self.column(column + self.at[1]) * channels;
                pixel.copy_from_slice(&from[at..at + channels]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_enters_and_leaves_its_frame_split_or_not() {
        for split in [1, 2] {
            let frame = Frame {
                plane: [2, 3],
                frame: [3, 4],
                at: [1, 1],
                split,
            };
            let plane: Vec<f32> = (1..=12).map(|v| v as f32).collect();
            let mut framed = vec![0.0; frame.len(2)];
            frame.enter(&plane, &mut framed, 2);
            let place = frame.row_len(2) * 2 + frame.column(3) * 2;
            assert_eq!(framed[place..place + 2], [11.0, 12.0]);
            let mut back = vec![9.0; 12];
            frame.leave(&framed, &mut back, 2);
            assert_eq!(back, plane);
        }
    }

    #[test]
    fn a_frame_may_hold_nothing_but_border() {
        let frame = Frame {
            plane: [1, 2],
            frame: [2, 1],
            at: [0, 3],
            split: 1,
        };
        let mut framed = vec![0.0; frame.len(1)];
        frame.enter(&[1.0, 2.0], &mut framed, 1);
        assert_eq!(framed, [0.0; 2]);
        let mut back = vec![9.0; 2];
        frame.leave(&framed, &mut back, 1);
        assert_eq!(back, [0.0; 2]);
    }
}
