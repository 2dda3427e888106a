//! Softmax over rows.

use crate::requantize::Output;

/// `y ← e^(y − max) / Σ e^(y − max)` for each row of `row` elements, in place.
#[inline(never)]
pub fn softmax_f32(y: &mut [f32], row: usize) -> Option<()> {
    if row == 0 {
        return None;
    }
    for y in y.chunks_exact_mut(row) {
        let max = y
            .iter()
            .fold(f32::NEG_INFINITY, |max, y| if *y > max { *y } else { max });
        let mut sum = 0.0;
        for y in y.iter_mut() {
            *y = libm::expf(*y - max);
            sum += *y;
        }
        for y in y.iter_mut() {
            *y /= sum;
        }
    }
    Some(())
}

/// Int8 softmax, in place. `table[i]` is `e^(−i·input scale)`: what an element that lies `i` below the row's greatest
/// weighs. Weights are added in row order, in single precision.
#[inline(never)]
pub fn softmax_i8(
    y: &mut [i8],
    row: usize,
    table: &[f32; 256],
    output_scale: f32,
    output: Output,
) -> Option<()> {
    if row == 0 {
        return None;
    }
    for y in y.chunks_exact_mut(row) {
        let max = y
            .iter()
            .fold(i8::MIN, |max, y| if *y > max { *y } else { max });
        let weight = |y: i8| table[usize::from(max.wrapping_sub(y) as u8)];
        let sum = y.iter().fold(0.0, |sum, y| sum + weight(*y));
        for y in y.iter_mut() {
            *y = output.quantize(weight(*y) / sum / output_scale);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sum_to_one_and_keep_their_order() {
        let mut y = [1.0, 3.0, 2.0, -500.0, 80.0, 79.0];
        softmax_f32(&mut y, 3);
        for row in y.chunks(3) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert!(y[1] > y[2] && y[2] > y[0] && y[4] > y[5] && y[3] == 0.0);
    }

    #[test]
    fn int8_equals_float_then_rounded() {
        let q = [-128i8, -5, 0, 17, 127, 127];
        let mut float = q.map(|q| (i32::from(q) + 5) as f32 * 0.11);
        let mut int8 = q;
        let table = core::array::from_fn(|i| libm::expf(-(i as f32) * 0.11));
        softmax_f32(&mut float, 6);
        softmax_i8(&mut int8, 6, &table, 1.0 / 256.0, Output::saturating(-128));
        let rounded = float.map(|p| Output::saturating(-128).quantize(p * 256.0));
        assert_eq!(int8, rounded);
    }
}
