use super::*;

const GOOD: &str = r#"
name = "everything"
seed = 7

[defaults]
batch = 64
augment = { flip = true, crop = 4 }

[[stage]]
kind = "train"
initialize = { shape = 1.5 }
training = { epochs = 30, lr = 0.1, schedule = { step = { at = [15, 25], factor = 0.1 } } }

[[stage]]
kind = "gate"
keep = 0.7
training = { epochs = 10, batch = 32 }

[[stage]]
kind = "mask"
macs = 0.5
search = { epochs = 5 }
training = { epochs = 10 }

[[stage]]
kind = "trp"
scheme = "spatial"
macs = 0.3
[stage.training]
epochs = 10
distill = { temperature = 2.0 }

[[stage]]
kind = "backslash"
strength = 5e-5
training = { epochs = 4 }

[[stage]]
kind = "prune"
fraction = 0.8

[[stage]]
kind = "quantize"
format = "int8"
granularity = "channel"
activations = "int8"
entropy-coded = true
"#;

#[test]
fn a_recipe_is_read_with_its_defaults() {
    let recipe = Recipe::parse(GOOD, "r.toml").unwrap();
    assert_eq!(
        (recipe.name.as_str(), recipe.seed, recipe.stages.len()),
        ("everything", 7, 7)
    );
    let batches: Vec<usize> = recipe
        .stages
        .iter()
        .flat_map(|s| s.trainings().into_iter().map(|(_, t)| t.batch))
        .collect();
    assert_eq!(batches, [64, 32, 64, 64, 64, 64]);
    let Stage::Trp(trp) = &recipe.stages[3] else {
        panic!("trp")
    };
    let training = trp.training.as_ref().unwrap();
    assert_eq!(
        (
            training.augment.crop,
            training.distill.as_ref().unwrap().teacher.as_str()
        ),
        (4, "input")
    );
    assert_eq!((trp.every, trp.nuclear, trp.macs), (20, 3e-4, Some(0.3)));
    let Stage::Backslash(b) = &recipe.stages[4] else {
        panic!("backslash")
    };
    assert_eq!(
        (b.shape, b.form),
        (ShapeChoice::Adaptive { every: 100 }, Form::ScaleFree)
    );
}

/// Every error names the line of what is wrong.
#[test]
fn what_is_wrong_is_said_with_its_line() {
    let train = "kind = \"train\"\ntraining = { epochs = 1 }\n";
    let stages = |parts: &[&str]| -> String {
        let parts: Vec<String> = parts.iter().map(|p| format!("[[stage]]\n{p}\n")).collect();
        format!("name = \"x\"\n{}", parts.concat())
    };
    let quantize = "kind = \"quantize\"\nformat = \"rf8\"";
    let trp = "kind = \"trp\"\nscheme = \"channel\"\nmacs = 0.5";
    let mask = "kind = \"mask\"\nmacs = 0.5\ntraining = { epochs = 1 }";
    let gate = "kind = \"gate\"\nunits = \"channels\"\nkeep = 0.5\ntraining = { epochs = 1 }";
    let cases = [
        ("name = ".into(), 1, "string values must be quoted"),
        ("seed = 1\n".into(), 1, "`name`"),
        ("name = \"x\"\n".into(), 1, "at least one"),
        ("name = \"x\"\nsede = 1\n".into(), 2, "unknown key `sede`"),
        ("name = \"x\"\nstage = 3\n".into(), 2, "[[stage]]"),
        (
            "name = \"x\"\n[defaults]\nepochs = 3\n".into(),
            3,
            "no default",
        ),
        (
            "name = \"x\"\n[defaults]\nbacth = 3\n".into(),
            3,
            "unknown field `bacth`",
        ),
        (stages(&["training = 1"]), 2, "`kind`"),
        (
            stages(&["kind = \"trian\""]),
            3,
            "unknown kind of stage `trian`",
        ),
        (
            stages(&["kind = \"train\"\ntraining = { epochs = 1, lrr = 2 }"]),
            4,
            "unknown field `lrr`",
        ),
        (
            stages(&["kind = \"train\"\ntraining = { epochs = \"a\" }"]),
            4,
            "invalid type",
        ),
        (
            stages(&["kind = \"train\"\n[stage.training]\nepochs = 0"]),
            5,
            "epochs",
        ),
        (
            stages(&["kind = \"train\"\n[stage.training]\nepochs = 5\nlr = -1.0"]),
            6,
            "`lr` is -1",
        ),
        (
            stages(&["kind = \"train\"\n[stage.training]\nepochs = 5\nwarmup-epochs = 6"]),
            6,
            "6 of 5",
        ),
        (
            stages(&[
                "kind = \"train\"\n[stage.training]\nepochs = 5\nschedule = { step = { at = [3, 9], factor = 0.1 } }",
            ]),
            6,
            "ascend",
        ),
        (
            stages(&[train, "kind = \"prune\"\nfraction = 1.5"]),
            8,
            "`fraction` is 1.5",
        ),
        (stages(&[trp, mask]), 7, "before `trp`"),
        (stages(&[quantize, trp]), 6, "before `quantize`"),
        (
            stages(&["kind = \"prune\"\nfraction = 0.5", trp]),
            6,
            "before `prune`",
        ),
        (stages(&[quantize, train]), 6, "undoes it"),
        (
            stages(&[
                mask,
                "kind = \"train\"\ninitialize = { shape = 1.0 }\ntraining = { epochs = 1 }",
            ]),
            7,
            "forget",
        ),
        (stages(&[gate, mask]), 8, "the same inner channels"),
        (stages(&[mask, trp]), 9, "leaves 0.5 already"),
        (stages(&[trp, trp]), 7, "one already"),
        (
            stages(&["kind = \"mask\"\ntraining = { epochs = 1 }"]),
            3,
            "neither `rule` nor `macs`",
        ),
        (
            stages(&[&format!("{mask}\nrule = {{ threshold = 0.01 }}")]),
            6,
            "leave one out",
        ),
        (
            stages(&[
                "kind = \"gate\"\nkeep = 0.5\nschedule = { open-until = 0.9 }\ntraining = { epochs = 1 }",
            ]),
            5,
            "freeze-at",
        ),
        (
            stages(&[&format!("{quantize}\nrelative-step = 0.3")]),
            5,
            "no even steps",
        ),
        (
            stages(&[&format!("{trp}\nranks = {{ a = 3 }}")]),
            6,
            "`ranks` and `macs` both",
        ),
        (
            stages(&[&format!("{trp}\nanneal = 1.5")]),
            6,
            "`anneal` is 1.5",
        ),
        (
            stages(&[&format!("{mask}\nsearch-strength = -1.0")]),
            6,
            "`search-strength` is -1",
        ),
        (
            "name = \"x\"\nnorms = \"fold\"\n".into(),
            2,
            "unknown variant `fold`",
        ),
    ];
    for (text, line, message) in cases {
        let error = Recipe::parse(&text, "r.toml").expect_err(&text);
        assert!(error.message.contains(message), "{text}\n{error}");
        assert_eq!(error.line, line, "{text}\n{error}");
        assert!(error.to_string().starts_with(&format!("r.toml:{line}:")));
    }
}

#[test]
fn two_rounds_of_masks_and_gated_blocks_go_together() {
    let text = r#"
name = "two rounds"
[[stage]]
kind = "gate"
keep = 0.8
training = { epochs = 1 }
[[stage]]
kind = "mask"
scope = "inner"
macs = 0.7
training = { epochs = 1 }
[[stage]]
kind = "mask"
scope = "residual"
rule = { threshold = 0.01 }
training = { epochs = 1 }
"#;
    assert_eq!(Recipe::parse(text, "r").unwrap().stages.len(), 3);
}

#[test]
fn the_examples_are_recipes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("examples") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        if let Err(error) = Recipe::parse(&text, &path.to_string_lossy()) {
            panic!("{error}");
        }
        count += 1;
    }
    assert!(count >= 5);
}
