//! The time of a training step of ResNet-8, batch 64, beside PyTorch's in the same run: `KINGLET_TORCH=PYTHON cargo run
//! --release -p kinglet-tests --bin train_step`. The machine should do nothing else.

use kinglet_export::train::arch::Arch;
use kinglet_export::train::objective::{Targets, cross_entropy};
use kinglet_export::train::optimizer::{Decay, Optimizer, Rule};
use kinglet_export::train::tape::{Mode, Program};
use kinglet_tests::pytorch::{Batch, CLASSES, network, python, reference};
use std::time::Instant;

fn main() {
    let python = python().expect("KINGLET_TORCH names a Python with torch, onnx and numpy");
    const STEPS: usize = 15;
    for threads in [1, 2] {
        let batch = Batch::new(64, &[3, 32, 32]);
        let graph = network(Arch::ResNet8, &batch);
        let expected = reference(&python, &graph, &batch, threads, STEPS);
        let mut program = Program::<f32>::new(&graph).unwrap();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let rule = Rule::Sgd {
            momentum: 0.9,
            nesterov: false,
        };
        let mut optimizer = Optimizer::new(
            rule,
            Decay {
                weights: 0.0,
                others: 0.0,
            },
        );
        let targets = Targets::from_labels(&batch.labels, CLASSES);
        let x = batch.stored();
        let mut own: Vec<f32> = (0..=STEPS)
            .map(|_| {
                let start = Instant::now();
                pool.install(|| {
                    program.forward(x.clone(), Mode::Train);
                    let (_, gradient) = cross_entropy(program.logits().unwrap(), &targets);
                    let gradients = program.backward(vec![(program.output(), gradient)]);
                    optimizer.step(&mut program, &gradients, 1e-3);
                });
                start.elapsed().as_secs_f32()
            })
            .skip(1)
            .collect();
        let figures = |seconds: &mut [f32]| {
            seconds.sort_by(f32::total_cmp);
            [seconds[0], seconds[seconds.len() / 2]].map(|s| (10_000.0 * s).round() / 10.0)
        };
        let own = figures(&mut own);
        let mut seconds = expected["seconds"].clone();
        let (usual, last) = seconds.split_at_mut(STEPS);
        let (usual, last) = (figures(usual), figures(last));
        println!(
            "ResNet-8, batch 64, {threads} threads, least and median milliseconds a step: Kinglet {own:?}, PyTorch {usual:?}, PyTorch channels last {last:?}"
        );
        println!(
            "medians, ours / the better of PyTorch's: {:.2}",
            own[1] / usual[1].min(last[1])
        );
    }
}
