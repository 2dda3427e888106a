//! Time of the reference kernels on this machine: `cargo bench --package kinglet`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kinglet::format::Window;
use kinglet::kernels::{self, Float, Geometry, Int8};
use kinglet::requantize::Output;
use std::hint::black_box;

/// A 3×3 convolution of `size`×`size` pixels, same padding.
fn geometry(size: u32, in_c: u32, out_c: u32) -> Geometry {
    let window = Window {
        batch: 1.into(),
        input: [size.into(), size.into(), in_c.into()],
        output: [size.into(), size.into(), out_c.into()],
        kernel: [3.into(), 3.into()],
        stride: [1.into(), 1.into()],
        dilation: [1.into(), 1.into()],
        pad: [1.into(), 1.into()],
    };
    Geometry::new(&window).expect("all dimensions are positive")
}

fn pattern(len: usize) -> Vec<i8> {
    (0..len).map(|i| (i * 37 + i / 11) as i8).collect()
}

fn kernels(c: &mut Criterion) {
    let (size, in_c, out_c) = (32usize, 16usize, 16usize);
    let g = geometry(size as u32, in_c as u32, out_c as u32);
    let x = pattern(size * size * in_c);
    let w = pattern(out_c * 9 * in_c);
    let (bias, multipliers) = (vec![100; out_c], vec![0.001; out_c]);
    let int8 = Int8 {
        weights: &w[..],
        input_zero_point: -7,
        bias: &bias,
        multipliers: &multipliers,
        output: Output::saturating(-128),
    };
    let mut group = c.benchmark_group("int8");
    group.throughput(Throughput::Elements(
        (size * size * out_c * 9 * in_c) as u64,
    ));
    let mut y = vec![0; size * size * out_c];
    group.bench_function("conv 3x3 16->16 at 32x32", |b| {
        b.iter(|| kernels::conv(&g, 1, &int8, black_box(&x), &mut y));
    });
    group.throughput(Throughput::Elements((size * size * out_c * 9) as u64));
    let depthwise = Int8 {
        weights: &w[..9 * out_c],
        ..int8
    };
    group.bench_function("depthwise 3x3 16 at 32x32", |b| {
        b.iter(|| kernels::depthwise(&g, &depthwise, black_box(&x), &mut y));
    });
    group.throughput(Throughput::Elements(128 * 128));
    let (bias, multipliers, w) = (vec![0; 128], vec![0.001; 128], pattern(128 * 128));
    let dense = Int8 {
        weights: &w[..],
        bias: &bias,
        multipliers: &multipliers,
        ..int8
    };
    let mut y = vec![0; 128];
    group.bench_function("fully connected 128->128", |b| {
        b.iter(|| kernels::dense(128, 128, &dense, black_box(&x[..128]), &mut y));
    });
    group.finish();

    let mut group = c.benchmark_group("f32");
    group.throughput(Throughput::Elements(
        (size * size * out_c * 9 * in_c) as u64,
    ));
    let float = |v: &[i8]| v.iter().map(|&v| f32::from(v)).collect::<Vec<_>>();
    let (x, w, bias) = (
        float(&x),
        float(&pattern(out_c * 9 * in_c)),
        vec![0.0; out_c],
    );
    let arithmetic = Float {
        weights: &w,
        bias: &bias,
        min: 0.0,
        max: f32::INFINITY,
    };
    let mut y = vec![0.0; size * size * out_c];
    group.bench_function("conv 3x3 16->16 at 32x32", |b| {
        b.iter(|| kernels::conv(&g, 1, &arithmetic, black_box(&x), &mut y));
    });
    group.finish();
}

criterion_group!(benches, kernels);
criterion_main!(benches);
