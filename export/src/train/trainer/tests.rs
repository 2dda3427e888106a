//! Whole runs on a small task.

use super::super::arch::Arch;
use super::super::evaluate::reestimate_statistics;
use super::super::optimizer::{Decay, Rule, Schedule};
use super::super::tape::BatchNorm;
use super::*;
use crate::compress::testing::quarters_of;
use crate::data::Scaling;
use crate::data::augment::Augment;
use crate::graph::{Graph, ValueId};

/// The images to test with are the first of those to train with.
fn data() -> Dataset {
    quarters_of([80, 20], 0)
}

fn options(base: f64) -> Options {
    Options {
        epochs: 3,
        plan: Plan {
            batch: 16,
            seed: 7,
            scaling: Scaling::Centered,
            augment: Augment {
                crop: 1,
                mixup: 0.2,
                ..Augment::default()
            },
        },
        rate: Rate {
            base,
            schedule: Schedule::Cosine,
            warm_up: 0.5,
            epochs: 3.0,
        },
        smoothing: 0.05,
    }
}

fn network() -> Graph {
    Arch::ResNet8.build(&[1, 8, 8], 4, 1).expect("fits")
}

/// A method with state: it remembers how often it was called.
#[derive(Default)]
struct Counter(f32);

impl Method for Counter {
    fn after_backward(
        &mut self,
        program: &mut Program<f32>,
        gradients: &mut super::super::tape::Gradients<f32>,
        _: &Moment,
    ) {
        self.0 += 1.0;
        let ids: Vec<ValueId> = program.parameters().map(|(id, _)| id).collect();
        if let Some(gradient) = gradients.get_mut(ids[0]) {
            gradient.data[0] += 0.001 * self.0;
        }
    }

    fn save(&self) -> Vec<(String, Tensor<f32>)> {
        vec![("calls".into(), Tensor::new([1], vec![self.0]))]
    }

    fn restore(&mut self, saved: Vec<(String, Tensor<f32>)>) {
        self.0 = saved[0].1.data[0];
    }
}

/// Trains until `stop_after` steps were reported.
fn train(
    folder: Option<&std::path::Path>,
    base: f64,
    stop_after: usize,
    resume: bool,
) -> (Program<f32>, std::result::Result<Outcome, TrainError>) {
    let (data, options) = (data(), options(base));
    let mut program = Program::new(&network()).expect("can be trained");
    let stop = AtomicBool::new(false);
    let mut steps = 0;
    let mut counter = Counter::default();
    let mut report = |report: Report<'_>| {
        if let Report::Step { .. } = report {
            steps += 1;
            stop.store(steps >= stop_after, Ordering::Relaxed);
        }
    };
    let rule = Rule::Sgd {
        momentum: 0.9,
        nesterov: true,
    };
    let decay = Decay {
        weights: 1e-4,
        others: 0.0,
    };
    let outcome = Run {
        program: &mut program,
        data: &data,
        options: &options,
        optimizer: Optimizer::new(rule, decay),
        methods: vec![&mut counter],
        teacher: None,
        keep: folder.map(|f| Keep {
            folder: f.into(),
            every: Duration::from_secs(3600),
        }),
        settings: serde_json::json!({ "lr": base }),
        stop: &stop,
        report: &mut report,
    }
    .train(resume);
    (program, outcome)
}

fn bits(program: &Program<f32>) -> Vec<u32> {
    let values = program.parameters().flat_map(|(_, p)| &p.value.data);
    let state = program.state().flat_map(|(_, s)| &s.data);
    values.chain(state).map(|v| v.to_bits()).collect()
}

#[test]
fn a_run_learns_and_one_that_was_stopped_anywhere_ends_with_the_same_bytes() {
    let (program, outcome) = train(None, 0.05, usize::MAX, false);
    let outcome = outcome.expect("trained");
    assert!(outcome.finished && outcome.history.len() == 3);
    assert!(
        outcome.history[2].test_accuracy > 0.9,
        "{:?}",
        outcome.history
    );
    for stop_after in [1, 5, 7] {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, stopped) = train(Some(folder.path()), 0.05, stop_after, false);
        assert!(!stopped.expect("stopped").finished);
        let (resumed, finished) = train(Some(folder.path()), 0.05, usize::MAX, true);
        assert_eq!(bits(&resumed), bits(&program), "stopped after {stop_after}");
        let finished = finished.expect("finished");
        let figures = |h: &[EpochMetrics]| -> Vec<[f64; 4]> {
            let one = |m: &EpochMetrics| [m.loss, m.accuracy, m.test_loss, m.test_accuracy];
            h.iter().map(one).collect()
        };
        assert_eq!(figures(&finished.history), figures(&outcome.history));
        let metrics = std::fs::read_to_string(folder.path().join(METRICS)).expect("written");
        assert_eq!(metrics.lines().count(), 3);
        let error = train(Some(folder.path()), 0.06, 1, true).1.err();
        assert!(error.is_some_and(|e| e.to_string().contains("lr: 0.05 there, 0.06 here")));
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let train = || bits(&train(None, 0.05, 3, false).0);
        pool.expect("threads").install(train)
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn numbers_that_run_away_stop_the_run_and_name_the_layer() {
    let error = train(None, 1e30, usize::MAX, false)
        .1
        .expect_err("diverges");
    let text = error.to_string();
    assert!(matches!(error, TrainError::NonFinite { .. }), "{text}");
    assert!(text.contains("layer `"), "{text}");
}

#[test]
fn data_that_do_not_fit_are_refused_in_shapes() {
    let data = Dataset {
        classes: 5,
        ..data()
    };
    let options = options(0.1);
    let mut program = Program::new(&network()).expect("can be trained");
    let rule = Rule::Adam {
        beta1: 0.9,
        beta2: 0.999,
    };
    let decay = Decay {
        weights: 0.0,
        others: 0.0,
    };
    let error = Run {
        program: &mut program,
        data: &data,
        options: &options,
        optimizer: Optimizer::new(rule, decay),
        methods: Vec::new(),
        teacher: None,
        keep: None,
        settings: serde_json::Value::Null,
        stop: &AtomicBool::new(false),
        report: &mut |_| (),
    }
    .train(false)
    .expect_err("classes differ");
    assert!(error.to_string().contains("5 classes"));
}

#[test]
fn statistics_are_computed_anew_as_the_mean_over_batches() {
    let mut program = Program::new(&network()).expect("can be trained");
    let before = bits(&program);
    let plan = options(0.1).plan;
    reestimate_statistics(&mut program, &data(), &plan, 3);
    assert_ne!(before, bits(&program));
    let mean_of = |program: &Program<f32>| -> Vec<f32> {
        program
            .state()
            .next()
            .map(|(_, s)| s.data.clone())
            .unwrap_or_default()
    };
    // One batch at a time, from the same start.
    let mut sum = vec![0.0; mean_of(&program).len()];
    plan.each(&data(), 0, 0, |number, batch| {
        let mut one = Program::new(&network()).expect("can be trained");
        for norm in one.operations_mut::<BatchNorm>() {
            norm.momentum = 1.0;
        }
        one.forward(batch.x, Mode::Train);
        for (sum, mean) in sum.iter_mut().zip(mean_of(&one)) {
            *sum += mean / 3.0;
        }
        if number == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    for (expected, mean) in sum.iter().zip(mean_of(&program)) {
        assert!((expected - mean).abs() < 1e-5);
    }
    let norms = program.operations_mut::<BatchNorm>();
    assert!(norms.into_iter().all(|n| n.momentum == 0.1));
}
