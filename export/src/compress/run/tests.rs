//! Whole recipes on a small task: what each stage promises, and that a run which was stopped gives the same file.

use super::*;
use crate::compress::formats::{Granularity, WeightFormat};
use crate::compress::gaussian::rate::weight_tensors;
use crate::compress::testing::{distance, quarters, quarters_network};
use crate::graph::{Data, Op, ValueId};
use crate::onnx::write;
use crate::passes::total_macs;
use std::sync::atomic::Ordering;
use tempfile::TempDir;

/// A folder with `model.onnx`; what is written is found by name.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().expect("a folder"));
        write::write(&quarters_network(), place.path("model.onnx")).expect("written");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a recipe to `NAME.onnx`, stopping after so many steps of training.
    fn run_until(
        &self,
        name: &str,
        recipe: &str,
        resume: bool,
        steps: usize,
    ) -> Result<Outcome, CompressError> {
        let recipe = Recipe::parse(recipe, "recipe.toml").expect("a recipe");
        let (data, stop) = (quarters(), AtomicBool::new(false));
        let mut taken = 0;
        let mut report = |event: Event<'_>| {
            if let Event::Training {
                report: Report::Step { .. },
                ..
            } = event
            {
                taken += 1;
                stop.store(taken >= steps, Ordering::Relaxed);
            }
        };
        Job {
            recipe: &recipe,
            model: &self.path("model.onnx"),
            data: &data,
            scaling: Scaling::Centered,
            output: &self.path(&format!("{name}.onnx")),
            folder: &self.path(name),
            resume,
            seed: None,
            epochs_scale: 1.0,
            stop: &stop,
            report: &mut report,
        }
        .run()
    }

    fn run(&self, name: &str, recipe: &str) -> Outcome {
        let outcome = self.run_until(name, recipe, false, usize::MAX);
        let outcome = outcome.unwrap_or_else(|e| panic!("{e}"));
        assert!(outcome.finished);
        outcome
    }

    fn graph(&self, name: &str) -> Graph {
        load(&self.path(name)).expect("a model")
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file")
    }
}

/// A recipe with these stages.
fn recipe(stages: &str) -> String {
    format!("name = \"test\"\nseed = 4\n[defaults]\nbatch = 32\n{stages}")
}

const TRAIN: &str = "[[stage]]\nkind = \"train\"\ntraining = { epochs = 4, lr = 0.05 }\n";

/// Weights in the order of layers.
fn weights(graph: &Graph) -> Vec<&[f32]> {
    let floats = |id: ValueId| match &graph[id].data {
        Some(Data::F32(w)) => Some(w.as_slice()),
        _ => None,
    };
    weight_tensors(graph).filter_map(floats).collect()
}

fn number(stage: &StageRecord, note: &str) -> f64 {
    stage.notes[note].as_f64().expect("a number")
}

#[test]
fn training_learns_from_weights_drawn_anew() {
    let place = Place::new();
    let drawn = TRAIN.replace("training", "initialize = { shape = 1.0 }\ntraining");
    let outcome = place.run("a", &recipe(&drawn));
    assert_eq!(number(&outcome.record.stages[0], "tensors drawn anew"), 7.0);
    let (before, after) = (&outcome.record.input, &outcome.record.stages[0].figures);
    assert!(after.accuracy > 0.9 && before.accuracy < 0.8, "{outcome:?}");
    assert_eq!(
        (before.macs, before.parameters, before.weight_bytes),
        (after.macs, after.parameters, after.weight_bytes)
    );
    assert!(after.coded_bytes * 4 < after.weight_bytes);
    let other = place.run("b", &recipe(TRAIN));
    assert_ne!(place.bytes("a.onnx"), place.bytes("b.onnx"));
    assert_eq!(number(&other.record.stages[0], "tensors drawn anew"), 0.0);
}

#[test]
fn after_rank_pruning_the_split_costs_nothing() {
    let place = Place::new();
    let trp = "[[stage]]\nkind = \"trp\"\nscheme = \"channel\"\nevery = 2\nrule = { energy = 0.8 }\n\
               split = { relative-value = 1e-4 }\ntraining = { epochs = 4, lr = 0.05 }\n";
    let outcome = place.run("a", &recipe(&format!("{TRAIN}{trp}")));
    let [trained, split] = &outcome.record.stages[..] else {
        panic!("two stages")
    };
    let layers = split.notes["layers"].as_array().expect("layers");
    // The stem and the 1 × 1 shortcut stay. Without the last projection every rank would be full.
    assert_eq!(layers.len(), 4);
    assert!(
        layers.iter().all(|l| l["rank"].as_u64() < l["of"].as_u64()),
        "{layers:?}"
    );
    let halves = layers.iter().filter(|l| l["split"] == true).count();
    let convolutions = |graph: &Graph| {
        let is = |n: &&crate::graph::Node| matches!(n.op, Op::Conv2d { .. });
        graph.nodes.iter().filter(is).count()
    };
    assert!(halves > 0);
    assert_eq!(
        convolutions(&place.graph("a.onnx")),
        convolutions(&quarters_network()) + halves
    );
    let [before, after] =
        ["before", "after"].map(|when| number(split, &format!("accuracy {when} the split")));
    assert!((before - after).abs() <= 0.025, "{before} {after}");
    assert!(split.figures.macs < trained.figures.macs);
    assert!(split.figures.accuracy > 0.9, "{split:?}");
}

/// Ranks that fall gradually, then what both convolutions learn together.
#[test]
fn ranks_can_be_named_and_fall_while_training() {
    let place = Place::new();
    let whole = place.run(
        "whole",
        &recipe("[[stage]]\nkind = \"trp\"\nscheme = \"channel\"\nmacs = 0.6\n"),
    );
    let layers = whole.record.stages[0].notes["layers"].as_array();
    let named: Vec<String> = layers
        .expect("layers")
        .iter()
        .map(|l| format!("{} = {}", l["name"], l["rank"]))
        .collect();
    let ranks = named.join(", ");
    let trp = format!(
        "[[stage]]\nkind = \"trp\"\nscheme = \"channel\"\nranks = {{ {ranks} }}\nevery = 2\nanneal = 0.5\n\
         training = {{ epochs = 3, lr = 0.05 }}\nfine-tune = {{ epochs = 1, lr = 0.02 }}\n"
    );
    let outcome = place.run("a", &recipe(&format!("{TRAIN}{trp}")));
    let stage = &outcome.record.stages[1];
    assert_eq!(stage.figures.macs, whole.record.stages[0].figures.macs);
    let [before, after] =
        ["before", "after"].map(|when| number(stage, &format!("accuracy {when} the split")));
    assert!((before - after).abs() <= 0.025, "{before} {after}");
    assert!(stage.figures.accuracy > 0.9, "{stage:?}");
    assert!(place.path("a/stage-2-trp/fine-tune/metrics.jsonl").exists());
}

#[test]
fn rank_pruning_meets_its_budget_or_says_the_least() {
    let place = Place::new();
    let trp = |macs: f64| {
        recipe(&format!(
            "[[stage]]\nkind = \"trp\"\nscheme = \"spatial\"\nmacs = {macs}\n"
        ))
    };
    let outcome = place.run("a", &trp(0.6));
    let whole = outcome.record.input.macs as f64;
    assert!(outcome.record.stages[0].figures.macs as f64 <= 0.6 * whole);
    let error = place.run_until("b", &trp(0.01), false, usize::MAX);
    let error = error.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(
        error.starts_with("recipe.toml:6:1: trp stage: no ranks give"),
        "{error}"
    );
}

#[test]
fn a_mask_meets_its_budget_and_its_channels_go_without_loss() {
    let place = Place::new();
    let mask = "[[stage]]\nkind = \"mask\"\nmacs = 0.6\nstrength = 0.02\nsearch = { epochs = 2, lr = 0.05 }\n\
                training = { epochs = 6, lr = 0.05 }\nfine-tune = { epochs = 2, lr = 0.02 }\n";
    let outcome = place.run("a", &recipe(&format!("{TRAIN}{mask}")));
    let (cut, whole) = (&outcome.record.stages[1], outcome.record.input.macs as f64);
    assert!(cut.figures.macs as f64 <= 0.6 * whole, "{cut:?}");
    assert!(number(cut, "channels cut") > 0.0);
    assert!(cut.figures.accuracy > 0.9, "{cut:?}");
    let [before, after] =
        ["before", "after"].map(|when| number(cut, &format!("accuracy {when} the cut")));
    assert!((before - after).abs() <= 0.1, "{before} {after}");
    assert!(total_macs(&place.graph("a.onnx")) < total_macs(&quarters_network()));
    let trainings = curves(&place.path("a"));
    let named: Vec<(&str, usize)> = trainings
        .iter()
        .map(|c| (c.name.as_str(), c.before))
        .collect();
    let expected = [
        ("stage-1-train/training", 0),
        ("stage-2-mask/search", 4),
        ("stage-2-mask/training", 6),
        ("stage-2-mask/fine-tune", 12),
    ];
    assert_eq!(named, expected);
    let last = trainings.last().map(Curve::accuracy).unwrap_or_default();
    assert_eq!((last.len(), last[1].0), (2, 14.0));
}

/// The proximal penalty ends at exact zeros of γ and β, so the cut network is the masked one.
#[test]
fn a_proximal_penalty_leaves_nothing_to_cut() {
    let place = Place::new();
    let mask = "[[stage]]\nkind = \"mask\"\nmacs = 0.6\nstrength = 4.0\npenalty = \"proximal\"\n\
                score = \"relative-gamma\"\nmin-channels = 2\ntraining = { epochs = 8, lr = 0.05 }\n";
    let outcome = place.run("a", &recipe(&format!("{TRAIN}{mask}")));
    let cut = &outcome.record.stages[1];
    let gamma = &cut.notes["gamma"];
    assert_eq!(gamma["masked"], gamma["masked below 0.01"], "{cut:?}");
    assert_eq!(gamma["masked median"].as_f64(), Some(0.0));
    assert_eq!(
        number(cut, "accuracy before the cut"),
        number(cut, "accuracy after the cut")
    );
    assert_eq!(
        cut.notes["inexact borders"].as_array().map(Vec::len),
        Some(0)
    );
    assert!(cut.figures.accuracy > 0.9, "{cut:?}");
}

/// A network whose exporter has folded its normalisations gets some to train with, and loses them again.
#[test]
fn a_folded_network_is_masked_with_inserted_normalisations() {
    let place = Place::new();
    let trained = place.run("trained", &recipe(TRAIN));
    let (folded, _) =
        load_graph(&place.path("trained.onnx"), &LoadOptions::default()).expect("a model");
    let is_norm = |n: &crate::graph::Node| matches!(n.op, Op::BatchNorm { .. });
    assert!(!folded.nodes.iter().any(is_norm));
    write::write(&folded, place.path("model.onnx")).expect("written");
    let mask = "[[stage]]\nkind = \"mask\"\nmacs = 0.6\nstrength = 0.02\nsearch-strength = 0.005\n\
                search = { epochs = 1, lr = 0.05 }\ntraining = { epochs = 4, lr = 0.05 }\n\
                fine-tune = { epochs = 2, lr = 0.02 }\n";
    let error = place.run_until("a", &recipe(mask), false, usize::MAX).err();
    let error = error.map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("norms = \"insert\""), "{error}");
    let inserted = format!("norms = \"insert\"\n{}", recipe(mask));
    let outcome = place.run("b", &inserted);
    let start = place.graph("b/input.onnx");
    assert_eq!(start.nodes.iter().filter(|n| is_norm(n)).count(), 6);
    // The same network: within rounding, the same figures.
    let (before, input) = (&trained.record.stages[0].figures, &outcome.record.input);
    assert_eq!((before.accuracy, before.macs), (input.accuracy, input.macs));
    assert!(
        (before.loss - input.loss).abs() < 1e-4,
        "{before:?} {input:?}"
    );
    let cut = &outcome.record.stages[0];
    assert!(cut.figures.macs as f64 <= 0.6 * input.macs as f64);
    assert!(cut.figures.accuracy > 0.9, "{cut:?}");
    assert!(!place.graph("b.onnx").nodes.iter().any(is_norm));
}

/// What masks are compared with: as small, and of no use until it is trained.
#[test]
fn random_masks_differ_by_seed_and_meet_the_same_budget() {
    let place = Place::new();
    let random = |seed: u64| {
        let mask =
            "[[stage]]\nkind = \"mask\"\nscore = \"random\"\nscope = \"inner\"\nmacs = 0.6\n";
        recipe(mask).replace("seed = 4", &format!("seed = {seed}"))
    };
    let outcomes = [1, 2].map(|seed| place.run(&format!("s{seed}"), &random(seed)));
    for outcome in &outcomes {
        let share = outcome.record.stages[0].figures.macs as f64 / outcome.record.input.macs as f64;
        assert!(share <= 0.6 && share > 0.5, "{share}");
    }
    assert_ne!(place.bytes("s1.onnx"), place.bytes("s2.onnx"));
}

#[test]
fn pruned_weights_stay_zero_in_later_stages() {
    let place = Place::new();
    let stages = "[[stage]]\nkind = \"prune\"\nfraction = 0.5\ntraining = { epochs = 2, lr = 0.02 }\n\
                  [[stage]]\nkind = \"quantize\"\nformat = \"rf8\"\ntraining = { epochs = 2, lr = 0.01 }\n";
    let outcome = place.run("a", &recipe(&format!("{TRAIN}{stages}")));
    let pruned = place.graph("a/stage-2-prune.onnx");
    let (zeros, all) = weights(&pruned).iter().fold((0, 0), |(zeros, all), w| {
        (
            zeros + w.iter().filter(|&&w| w == 0.0).count(),
            all + w.len(),
        )
    });
    assert_eq!(number(&outcome.record.stages[1], "zeros"), zeros as f64);
    assert!((zeros as f64 / all as f64 - 0.5).abs() < 0.01);
    let last = place.graph("a.onnx");
    let mut moved = false;
    for (before, after) in weights(&pruned).iter().zip(weights(&last)) {
        let kept = before.iter().zip(after).filter(|(b, _)| **b == 0.0);
        assert!(kept.into_iter().all(|(_, &a)| a == 0.0));
        moved |= before.iter().zip(after).any(|(b, a)| b != a);
    }
    assert!(moved && outcome.record.stages[2].figures.accuracy > 0.8);
}

#[test]
fn every_weight_is_a_code_of_its_format() {
    let place = Place::new();
    let formats = [
        ("rf8", WeightFormat::Rf8),
        ("e4m3", WeightFormat::E4m3),
        ("e3m4", WeightFormat::E3m4),
        ("int8", WeightFormat::Int8),
    ];
    for (name, format) in formats {
        let quantize = format!(
            "[[stage]]\nkind = \"quantize\"\nformat = \"{name}\"\ngranularity = \"channel\"\n\
             training = {{ epochs = 1, lr = 0.005 }}\n"
        );
        let outcome = place.run(name, &recipe(&format!("{TRAIN}{quantize}")));
        let stage = &outcome.record.stages[1];
        let graph = place.graph(&format!("{name}.onnx"));
        for id in weight_tensors(&graph) {
            let (shape, Some(Data::F32(w))) = (&graph[id].shape, &graph[id].data) else {
                panic!("floats")
            };
            for channel in w.chunks(w.len() / shape[0]) {
                // A largest weight that was rounded may have another scale now.
                let scale = format.scales(channel, shape, Granularity::Tensor)[0];
                let decodes = |factor: f32| {
                    let codes = format.encode_with(channel, shape, vec![factor * scale]);
                    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs();
                    codes.decode().iter().zip(channel).all(near)
                };
                assert!(
                    [1.0, 0.5, 2.0].into_iter().any(decodes),
                    "{name}: {channel:?}"
                );
            }
        }
        let all: usize = weights(&graph).iter().map(|w| w.len()).sum();
        let bytes = stage.figures.weight_bytes;
        assert!(bytes > all as u64 && bytes < 2 * all as u64, "{bytes}");
        assert!(stage.figures.accuracy > 0.85, "{name}: {stage:?}");
    }
}

#[test]
fn int8_models_run_and_count_their_bytes() {
    let place = Place::new();
    let quantize = "[[stage]]\nkind = \"quantize\"\nformat = \"int8\"\nactivations = \"int8\"\nentropy-coded = true\n\
                    training = { epochs = 1, lr = 0.005 }\n";
    let outcome = place.run("a", &recipe(&format!("{TRAIN}{quantize}")));
    let [float, int8] = &outcome.record.stages[..] else {
        panic!("two stages")
    };
    assert_eq!(4 * int8.figures.weight_bytes, float.figures.weight_bytes);
    assert_eq!(int8.figures.macs, float.figures.macs);
    assert!(
        int8.figures.accuracy > float.figures.accuracy - 0.05,
        "{outcome:?}"
    );
    assert!(int8.warnings[0].contains("entropy-coded"));
    let text = String::from_utf8_lossy(&place.bytes("a.onnx")).into_owned();
    assert!(text.contains("QuantizeLinear"));
}

/// Weights in a float format run as integers between int8 activations: no layer is left in float.
#[test]
fn float_formats_run_beside_int8_activations() {
    let place = Place::new();
    for format in ["rf8", "e3m4"] {
        let quantize = format!(
            "[[stage]]\nkind = \"quantize\"\nformat = \"{format}\"\nactivations = \"int8\"\n\
             training = {{ epochs = 1, lr = 0.005 }}\n"
        );
        let outcome = place.run(format, &recipe(&format!("{TRAIN}{quantize}")));
        let [float, coded] = &outcome.record.stages[..] else {
            panic!("two stages")
        };
        let weights = float.figures.weight_bytes / 4;
        let bytes = coded.figures.weight_bytes;
        assert!(bytes > weights && bytes < weights + weights / 4, "{bytes}");
        assert!(
            coded.figures.accuracy > float.figures.accuracy - 0.05,
            "{format}: {outcome:?}"
        );
        let path = place.path(&format!("{format}.onnx"));
        let (graph, warnings) = load_graph(&path, &LoadOptions::default()).expect("a model");
        assert!(warnings.is_empty(), "{format}: {warnings:?}");
        let layers = graph
            .nodes
            .iter()
            .filter(|n| matches!(n.op, Op::Conv2d { .. }));
        for layer in layers {
            let weights = &graph[layer.inputs[1]];
            assert!(
                matches!(weights.data, Some(Data::I32(_))),
                "{format}: {layer:?}"
            );
        }
    }
}

/// Larger steps, smaller codes; training with them and with int8 activations keeps the accuracy of what then runs.
#[test]
fn a_larger_step_takes_fewer_bits_in_the_file_that_runs() {
    let place = Place::new();
    let quantize = |step: f64, activations: &str| {
        format!(
            "{TRAIN}[[stage]]\nkind = \"quantize\"\nformat = \"int8\"\ngranularity = \"channel\"\n\
             activations = \"{activations}\"\nrelative-step = {step:.1}\ntraining = {{ epochs = 2, lr = 0.005 }}\n"
        )
    };
    for activations in ["int8", "float"] {
        let run = |step| {
            let name = format!("{activations}{step}");
            place.run(&name, &recipe(&quantize(step, activations)))
        };
        let [fine, coarse] = [run(0.0), run(0.6)].map(|o| o.record.stages[1].figures.clone());
        assert!(coarse.accuracy > 0.85, "{coarse:?}");
        assert_eq!(fine.weight_bytes, coarse.weight_bytes);
        assert!(
            2 * coarse.coded_bytes < fine.coded_bytes,
            "{fine:?} {coarse:?}"
        );
    }
}

/// The program that training sees with int8 activations is the network that runs afterwards.
#[test]
fn training_sees_what_int8_runs() {
    let place = Place::new();
    // A rate of next to nothing: what the training saw last is what is exported.
    let quantize = "[[stage]]\nkind = \"quantize\"\nformat = \"int8\"\nactivations = \"int8\"\nrelative-step = 0.3\n\
                    training = { epochs = 1, lr = 1e-12 }\n";
    let outcome = place.run("a", &recipe(&format!("{TRAIN}{quantize}")));
    let text = std::fs::read_to_string(place.path("a/stage-2-quantize/training/metrics.jsonl"));
    let last: Value = serde_json::from_str(text.expect("metrics").trim()).expect("one epoch");
    let ran = &outcome.record.stages[1].figures;
    let seen = |key: &str| last[key].as_f64().expect("a figure");
    assert!(
        (seen("test_loss") - ran.loss).abs() < 0.03 * ran.loss.max(0.1),
        "{last} {ran:?}"
    );
    assert!(
        (seen("test_accuracy") - ran.accuracy).abs() <= 0.025,
        "{last} {ran:?}"
    );
}

/// Weights' errors have a mean effect where inputs have a mean; the bias takes it back.
#[test]
fn corrected_biases_bring_the_result_nearer() {
    let place = Place::new();
    place.run("trained", &recipe(TRAIN));
    let quantize = |correct: bool| {
        format!(
            "{TRAIN}[[stage]]\nkind = \"quantize\"\nformat = \"rf8\"\ncorrect-bias = {correct}\n"
        )
    };
    let (float, _) =
        load_graph(&place.path("trained.onnx"), &LoadOptions::default()).expect("a model");
    let offset = |name: &str, correct: bool| {
        place.run(name, &recipe(&quantize(correct)));
        let data = quarters();
        let mut programs = [&float, &place.graph(&format!("{name}.onnx"))]
            .map(|g| crate::train::tape::Program::<f32>::new(g).expect("a program"));
        let means = programs.each_mut().map(|program| {
            let x = crate::data::batches::plain(&data, &data.train, 0..160, Scaling::Centered);
            program.forward(x, crate::train::tape::Mode::Evaluate);
            let logits = program.logits().expect("logits");
            let mut sums = vec![0.0; 4];
            for row in logits.data.chunks(4) {
                sums.iter_mut().zip(row).for_each(|(s, v)| *s += v / 160.0);
            }
            sums
        });
        distance(&means[0], &means[1])
    };
    let (with, without) = (offset("with", true), offset("without", false));
    assert!(10.0 * with < without, "{with} {without}");
}

#[test]
fn the_rate_term_makes_weights_cheaper_than_training_alone() {
    let place = Place::new();
    let more = "[[stage]]\nkind = \"train\"\ntraining = { epochs = 6, lr = 0.05 }\n";
    let plain = place.run("plain", &recipe(&format!("{TRAIN}{more}")));
    for form in ["scale-free", "authors"] {
        let strength = if form == "authors" { 1e-3 } else { 5e-3 };
        let rate = format!(
            "[[stage]]\nkind = \"backslash\"\nform = \"{form}\"\nstrength = {strength}\n\
             shape = {{ adaptive = {{ every = 5 }} }}\ntraining = {{ epochs = 5, lr = 0.05 }}\n\
             fine-tune = {{ epochs = 1, lr = 0.01 }}\n"
        );
        let rated = place.run(form, &recipe(&format!("{TRAIN}{rate}")));
        let bytes = |o: &Outcome| o.record.stages[1].figures.coded_bytes;
        assert!(
            bytes(&rated) < bytes(&plain),
            "{form}: {} {}",
            bytes(&rated),
            bytes(&plain)
        );
        assert!(rated.record.stages[1].figures.accuracy > 0.85, "{rated:?}");
        let shapes = rated.record.stages[1].notes["shapes"].as_object();
        let mut shapes = shapes.expect("shapes").values().filter_map(Value::as_f64);
        assert!(shapes.any(|nu| nu < 2.0), "none was estimated");
    }
}

#[test]
fn reshaped_weights_are_trained_again() {
    let place = Place::new();
    let reshape = "[[stage]]\nkind = \"deepshape\"\nrelative-step = 0.25\ntraining = { epochs = 3, lr = 0.02 }\n";
    let outcome = place.run("a", &recipe(&format!("{TRAIN}{reshape}")));
    let stage = &outcome.record.stages[1];
    assert!(number(stage, "weights moved") > 0.5 * number(stage, "weights"));
    assert!(stage.figures.accuracy > 0.85, "{stage:?}");
}

#[test]
fn gates_close_what_the_budget_does_not_keep_and_go() {
    let place = Place::new();
    // Each of many channels has a small share of the term.
    for (units, strength) in [("blocks", 5.0), ("channels", 100.0)] {
        let gate = format!(
            "[[stage]]\nkind = \"gate\"\nunits = \"{units}\"\nkeep = 0.5\n\
             schedule = {{ lambda-act = {strength:.1} }}\ntraining = {{ epochs = 20, lr = 0.05 }}\n\
             fine-tune = {{ epochs = 1, lr = 0.005 }}\n"
        );
        let outcome = place.run(units, &recipe(&format!("{TRAIN}{gate}")));
        let stage = &outcome.record.stages[1];
        assert!(number(stage, "closed") > 0.0, "{units}: {stage:?}");
        assert!(number(stage, "open share of gateable MACs") < 0.7);
        assert!(stage.figures.macs < outcome.record.input.macs);
        let [before, after] =
            ["before", "after"].map(|when| number(stage, &format!("accuracy {when} the removal")));
        assert!((before - after).abs() < 1e-9, "{units}: {before} {after}");
        assert!(stage.figures.accuracy > 0.85, "{units}: {stage:?}");
        let graph = place.graph(&format!("{units}.onnx"));
        assert!(graph.values.iter().all(|v| !v.name.contains("gate")));
    }
}

#[test]
fn a_run_that_was_stopped_anywhere_goes_on_to_the_same_file() {
    let place = Place::new();
    let stages = "[[stage]]\nkind = \"gate\"\nkeep = 0.9\ntraining = { epochs = 2 }\n\
                  [[stage]]\nkind = \"mask\"\nmacs = 0.6\nsearch = { epochs = 1 }\ntraining = { epochs = 2 }\n\
                  [[stage]]\nkind = \"trp\"\nscheme = \"channel\"\nmacs = 0.5\ntraining = { epochs = 1 }\n\
                  [[stage]]\nkind = \"backslash\"\nstrength = 1e-3\nshape = { adaptive = { every = 3 } }\ntraining = { epochs = 2 }\n\
                  [[stage]]\nkind = \"quantize\"\nformat = \"rf8\"\n";
    let recipe = recipe(stages);
    let whole = place.run("whole", &recipe);
    // Five steps an epoch: gates that follow and frozen ones, the search, the masked training, the split's, and the rate
    // term's second epoch.
    for steps in [4, 9, 13, 18, 27, 38] {
        let name = format!("stopped{steps}");
        let stopped = place.run_until(&name, &recipe, false, steps);
        let stopped = stopped.unwrap_or_else(|e| panic!("{e}"));
        assert!(!stopped.finished && stopped.record.stages.len() < 5);
        assert!(!place.path(&format!("{name}.onnx")).exists());
        let resumed = place.run_until(&name, &recipe, true, usize::MAX);
        let resumed = resumed.unwrap_or_else(|e| panic!("{e}"));
        let figures = |o: &Outcome| -> Vec<Figures> {
            o.record.stages.iter().map(|s| s.figures.clone()).collect()
        };
        assert_eq!(figures(&resumed), figures(&whole));
        assert!(place.bytes(&format!("{name}.onnx")) == place.bytes("whole.onnx"));
    }
    // With all stages done nothing is trained: only the output is written again.
    std::fs::remove_file(place.path("whole.onnx")).expect("there");
    let again = place.run_until("whole", &recipe, true, 0);
    assert!(again.is_ok_and(|o| o.finished));
    assert!(place.bytes("whole.onnx") == place.bytes("stopped4.onnx"));
    // Another recipe is not resumed.
    let other = recipe.replace("0.6", "0.55");
    let error = place.run_until("whole", &other, true, usize::MAX).err();
    assert!(
        matches!(&error, Some(CompressError::Settings { key, .. }) if key == "recipe"),
        "{error:?}"
    );
}

#[test]
fn what_cannot_be_run_is_said_with_its_line() {
    let place = Place::new();
    let unknown = "[[stage]]\nkind = \"trp\"\nscheme = \"channel\"\nranks = { nowhere = 2 }\n";
    let error = place.run_until("a", &recipe(unknown), false, usize::MAX);
    let error = error.err();
    assert!(matches!(
        &error,
        Some(CompressError::Stage { cause, .. }) if matches!(**cause, StageError::Trp(_))
    ));
    let text = error.map(|e| e.to_string()).unwrap_or_default();
    assert!(
        text.starts_with("recipe.toml:6:1: trp stage: `nowhere`"),
        "{text}"
    );
    assert!(!place.path("a.onnx").exists());
}
