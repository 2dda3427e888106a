//! 2-D convolution: dense and grouped in [`super::dense`], depthwise in [`super::depthwise`].

use super::{dense, depthwise};
use crate::graph::{Clamp, Window};
use crate::train::tape::kernels::pad::Frame;
use crate::train::tape::operation::{Context, Operation};
use crate::train::tape::tensor::Tensor;
use crate::train::tensor::Real;

/// `x [N,H,W,C]`, `w [M,C/g,kH,kW]`, optional `b [M]` → `[N,oH,oW,M]`.
pub(crate) struct Conv2d {
    pub(crate) window: Window,
    pub(crate) groups: usize,
    pub(crate) clamp: Clamp,
}

/// All sizes of one convolution, a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) window: Window,
    pub(super) groups: usize,
    /// Height and width, before and after.
    pub(super) input: [usize; 2],
    pub(super) output: [usize; 2],
    /// Channels, before and after.
    pub(super) c: usize,
    pub(super) m: usize,
}

impl Sizes {
    fn new<T>(window: Window, groups: usize, x: &Tensor<T>, w: &Tensor<T>) -> Self {
        let input = [x.shape[1], x.shape[2]];
        let Window {
            kernel,
            strides,
            dilations,
            pads,
        } = window;
        let output = std::array::from_fn(|i| {
            let extent = (kernel[i] - 1) * dilations[i] + 1;
            (input[i] + pads[i] + pads[i + 2] - extent) / strides[i] + 1
        });
        Sizes {
            window,
            groups,
            input,
            output,
            c: x.shape[3],
            m: w.shape[0],
        }
    }

    pub(super) fn input_len(&self) -> usize {
        self.input[0] * self.input[1] * self.c
    }

    pub(super) fn output_len(&self) -> usize {
        self.output[0] * self.output[1] * self.m
    }

    pub(super) fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// The input with exactly the border that windows touch.
    pub(super) fn frame(&self, split: usize) -> Frame {
        let Window {
            kernel,
            strides,
            dilations,
            pads,
        } = self.window;
        Frame {
            plane: self.input,
            frame: std::array::from_fn(|i| {
                (self.output[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1
            }),
            at: [pads[0], pads[1]],
            split,
        }
    }

    /// Input and output channels of a group.
    pub(super) fn group(&self) -> [usize; 2] {
        [self.c / self.groups, self.m / self.groups]
    }
}

impl<T: Real> Operation<T> for Conv2d {
    fn forward(&mut self, inputs: &[&Tensor<T>], context: &mut Context<T>) -> Tensor<T> {
        let (x, w) = (inputs[0], inputs[1]);
        let bias = inputs.get(2).map_or(&[][..], |b| &b.data);
        let s = Sizes::new(self.window, self.groups, x, w);
        let [oh, ow] = s.output;
        let mut y = context.buffers.tensor([x.rows(), oh, ow, s.m]);
        if depthwise::applies(&s) {
            depthwise::forward(&s, &x.data, &w.data, bias, &mut y.data);
        } else {
            dense::forward(&s, &x.data, &w.data, bias, &mut y.data);
        }
        super::clamp_in_place(&mut y.data, self.clamp);
        y
    }

    fn backward(
        &mut self,
        inputs: &[&Tensor<T>],
        output: &Tensor<T>,
        mut gradient: Tensor<T>,
        wanted: &[bool],
        context: &mut Context<T>,
    ) -> Vec<Option<Tensor<T>>> {
        let (x, w) = (inputs[0], inputs[1]);
        let s = Sizes::new(self.window, self.groups, x, w);
        super::mask_clamped(&mut gradient.data, &output.data, self.clamp);
        let mut dx = wanted[0].then(|| context.buffers.tensor(x.shape.clone()));
        let dx_data = dx.as_mut().map(|d| &mut d.data[..]);
        let dw = if depthwise::applies(&s) {
            depthwise::backward(&s, &x.data, &w.data, &gradient.data, dx_data, wanted[1])
        } else {
            dense::backward(&s, &x.data, &w.data, &gradient.data, dx_data, wanted[1])
        };
        let db = (wanted.get(2) == Some(&true)).then(|| {
            let db = super::channel_totals(&gradient.data, s.m, s.output_len());
            Tensor::new([s.m], db.into_iter().map(T::of).collect::<Vec<_>>())
        });
        context.buffers.give(gradient.data);
        let mut gradients = vec![dx, dw.map(|dw| Tensor::new(w.shape.clone(), dw))];
        if wanted.len() > 2 {
            gradients.push(db);
        }
        gradients
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::check::{Case, agrees};
    use super::*;
    use proptest::prelude::*;

    fn case(window: Window, groups: usize, [cg, mg]: [usize; 2], [h, w]: [usize; 2]) -> Case {
        let op = Conv2d {
            window,
            groups,
            clamp: Clamp::NONE,
        };
        let [kh, kw] = window.kernel;
        Case::new(op)
            .input([2, h, w, cg * groups])
            .input([mg * groups, cg, kh, kw])
            .input([mg * groups])
    }

    /// The definition, in ONNX's layout.
    fn defined(s: &Sizes, x: &[f64], w: &[f64], b: &[f64]) -> Vec<f64> {
        let [cg, mg] = s.group();
        let ([h, wd], [oh, ow], [kh, kw]) = (s.input, s.output, s.window.kernel);
        let mut y = Vec::new();
        for x in x.chunks(s.input_len()) {
            for (oy, ox, m) in
                (0..oh).flat_map(|y| (0..ow).flat_map(move |x| (0..s.m).map(move |m| (y, x, m))))
            {
                let mut sum = b[m];
                for (c, ky, kx) in
                    (0..cg).flat_map(|c| (0..kh).flat_map(move |y| (0..kw).map(move |x| (c, y, x))))
                {
                    let iy = (oy * s.window.strides[0] + ky * s.window.dilations[0])
                        .wrapping_sub(s.window.pads[0]);
                    let ix = (ox * s.window.strides[1] + kx * s.window.dilations[1])
                        .wrapping_sub(s.window.pads[1]);
                    if iy < h && ix < wd {
                        sum += x[(iy * wd + ix) * s.c + m / mg * cg + c]
                            * w[((m * cg + c) * kh + ky) * kw + kx];
                    }
                }
                y.push(sum);
            }
        }
        y
    }

    #[test]
    fn a_clamp_stops_the_gradient() {
        let window = Window {
            kernel: [3, 3],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [1; 4],
        };
        let op = Conv2d {
            window,
            groups: 1,
            clamp: Clamp { min: 0.0, max: 1.0 },
        };
        agrees(
            Case::new(op)
                .input([1, 4, 4, 2])
                .input([3, 2, 3, 3])
                .input([3]),
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_window_equals_its_definition_and_its_finite_differences(
            kernel in [1usize..4, 1usize..4],
            strides in [1usize..4, 1usize..3],
            dilations in [1usize..3, 1usize..3],
            pads in [0usize..3, 0usize..3, 0usize..3, 0usize..3],
            extra in [0usize..5, 0usize..5],
            groups in 1usize..4,
            channels in [1usize..3, 1usize..3],
        ) {
            let window = Window { kernel, strides, dilations, pads };
            let size = std::array::from_fn(|i| {
                ((kernel[i] - 1) * dilations[i] + 1 + extra[i]).saturating_sub(pads[i] + pads[i + 2]).max(1)
            });
            let fits = (0..2).all(|i| size[i] + pads[i] + pads[i + 2] > (kernel[i] - 1) * dilations[i]);
            prop_assume!(fits);
            let case = case(window, groups, channels, size);
            let (inputs, y) = agrees(case);
            let s = Sizes::new(window, groups, &inputs[0], &inputs[1]);
            let expected = defined(&s, &inputs[0].data, &inputs[1].data, &inputs[2].data);
            prop_assert_eq!(y.data.len(), expected.len());
            for (y, expected) in y.data.iter().zip(&expected) {
                prop_assert!((y - expected).abs() < 1e-12);
            }
        }
    }
}
