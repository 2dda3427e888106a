//! 2-D convolution: dense, grouped and depthwise.

use super::tensor::{
    Parameter, Real, Tensor, multiply, multiply_transposed_left, multiply_transposed_right,
};

/// Convolution with a square kernel, symmetric zero padding and a bias.
#[derive(Clone, PartialEq, Debug)]
pub struct Conv2d<T> {
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Kernel height and width.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Zeros added on each side.
    pub pad: usize,
    /// Groups; as many as input channels is depthwise.
    pub groups: usize,
    /// `[out_channels, in_channels / groups, kernel, kernel]`.
    pub weight: Parameter<T>,
    /// `[out_channels]`.
    pub bias: Parameter<T>,
}

impl<T: Real> Conv2d<T> {
    /// Inputs of one output: channels of a group times kernel area.
    pub fn fan_in(&self) -> usize {
        self.in_channels / self.groups * self.kernel * self.kernel
    }

    /// Shape of the result for an input of this shape.
    pub fn output_shape(&self, [n, _, h, w]: [usize; 4]) -> [usize; 4] {
        let out = |size: usize| (size + 2 * self.pad - self.kernel) / self.stride + 1;
        [n, self.out_channels, out(h), out(w)]
    }

    /// The convolution of `x`.
    pub fn forward(&self, x: &Tensor<T>) -> Tensor<T> {
        let mut y = Tensor::zeros(self.output_shape(x.shape));
        let plane = y.shape[2] * y.shape[3];
        for (maps, &bias) in y
            .data
            .chunks_exact_mut(plane)
            .zip(self.bias.value.iter().cycle())
        {
            maps.fill(bias);
        }
        let k = self.fan_in();
        let per_group = self.out_channels / self.groups;
        let mut columns = vec![T::zero(); k * plane];
        for (i, y) in y.data.chunks_exact_mut(per_group * plane).enumerate() {
            let group = i % self.groups;
            self.gather(x, i / self.groups, group, &mut columns);
            let weight = &self.weight.value[group * per_group * k..][..per_group * k];
            multiply(y, weight, &columns, k, plane);
        }
        y
    }

    /// Adds the parameters' gradients and returns the input's, given the input and the output's gradient.
    pub fn backward(&mut self, x: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        let mut dx = Tensor::zeros(x.shape);
        let plane = dy.shape[2] * dy.shape[3];
        for (i, map) in dy.data.chunks_exact(plane).enumerate() {
            self.bias.gradient[i % self.out_channels] += map.iter().fold(T::zero(), |s, &d| s + d);
        }
        let k = self.fan_in();
        let per_group = self.out_channels / self.groups;
        let mut columns = vec![T::zero(); k * plane];
        for (i, dy) in dy.data.chunks_exact(per_group * plane).enumerate() {
            let (sample, group) = (i / self.groups, i % self.groups);
            let weights = group * per_group * k..(group + 1) * per_group * k;
            self.gather(x, sample, group, &mut columns);
            multiply_transposed_right(
                &mut self.weight.gradient[weights.clone()],
                dy,
                &columns,
                plane,
                k,
            );
            columns.fill(T::zero());
            multiply_transposed_left(&mut columns, &self.weight.value[weights], dy, k, plane);
            self.scatter(&columns, &mut dx, sample, group);
        }
        dx
    }

    /// Calls `visit(column, input)` with the index into the column matrix `[fan_in, plane]` and into the input's data
    /// (`None` in the padding) for every pair of a kernel tap and an output pixel.
    fn taps(
        &self,
        shape: [usize; 4],
        sample: usize,
        group: usize,
        mut visit: impl FnMut(usize, Option<usize>),
    ) {
        let [_, c, h, w] = shape;
        let [_, _, out_h, out_w] = self.output_shape(shape);
        let per_group = self.in_channels / self.groups;
        let mut column = 0;
        for channel in group * per_group..(group + 1) * per_group {
            let map = (sample * c + channel) * h * w;
            for ky in 0..self.kernel {
                for kx in 0..self.kernel {
                    for oy in 0..out_h {
                        let y = (oy * self.stride + ky)
                            .checked_sub(self.pad)
                            .filter(|&y| y < h);
                        for ox in 0..out_w {
                            let x = (ox * self.stride + kx)
                                .checked_sub(self.pad)
                                .filter(|&x| x < w);
                            visit(column, y.zip(x).map(|(y, x)| map + y * w + x));
                            column += 1;
                        }
                    }
                }
            }
        }
    }

    fn gather(&self, x: &Tensor<T>, sample: usize, group: usize, columns: &mut [T]) {
        self.taps(x.shape, sample, group, |c, i| {
            columns[c] = i.map_or(T::zero(), |i| x.data[i])
        });
    }

    fn scatter(&self, columns: &[T], dx: &mut Tensor<T>, sample: usize, group: usize) {
        self.taps(dx.shape, sample, group, |c, i| {
            if let Some(i) = i {
                dx.data[i] += columns[c];
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{gradients_agree, random};
    use super::super::network::Layer;
    use super::*;

    fn conv(
        in_channels: usize,
        out_channels: usize,
        stride: usize,
        pad: usize,
        groups: usize,
    ) -> Conv2d<f64> {
        let weight = Parameter::new(random(out_channels * in_channels / groups * 9, 1));
        let bias = Parameter::new(random(out_channels, 2));
        Conv2d {
            in_channels,
            out_channels,
            kernel: 3,
            stride,
            pad,
            groups,
            weight,
            bias,
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        for (ci, co, stride, pad, groups) in [
            (2, 3, 1, 1, 1),
            (3, 2, 2, 1, 1),
            (4, 4, 1, 1, 4),
            (4, 6, 2, 0, 2),
        ] {
            gradients_agree(
                &mut Layer::Conv2d(conv(ci, co, stride, pad, groups)),
                [2, ci, 6, 5],
            );
        }
    }

    #[test]
    fn the_result_is_the_definition_of_a_convolution() {
        let conv = conv(4, 6, 2, 1, 2);
        let x = Tensor {
            shape: [2, 4, 5, 6],
            data: random(2 * 4 * 5 * 6, 3),
        };
        let y = conv.forward(&x);
        assert_eq!(y.shape, [2, 6, 3, 3]);
        for (i, &got) in y.data.iter().enumerate() {
            let (n, m, oy, ox) = (i / 54, i / 9 % 6, i / 3 % 3, i % 3);
            let mut expected = conv.bias.value[m];
            for tap in 0..18 {
                let (c, ky, kx) = (tap / 9, tap / 3 % 3, tap % 3);
                let (row, column) = (oy * 2 + ky, ox * 2 + kx);
                if (1..=5).contains(&row) && (1..=6).contains(&column) {
                    let channel = m / 3 * 2 + c;
                    expected += conv.weight.value[m * 18 + tap]
                        * x.data[((n * 4 + channel) * 5 + row - 1) * 6 + column - 1];
                }
            }
            assert!((got - expected).abs() < 1e-12);
        }
    }
}
