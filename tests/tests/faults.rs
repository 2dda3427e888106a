//! What goes wrong around the command: it is killed, the disk is full, folders and files are not what they should be, two
//! runs meet. Nothing that was there is lost, nothing stays that nobody asked for, and the message says what to do.
//!
//! Cuts in the middle of a write are exact: a limit on the size of files (`ulimit -f`) has the system kill the process at the
//! byte beyond it, or fail the write where its signal is ignored.
#![cfg(unix)]

use kinglet_export::onnx::{self, LoadOptions, write};
use kinglet_tests::command::{Done, kinglet};
use kinglet_tests::networks::classifier;
use kinglet_tests::quarters::Folder;
use kinglet_tests::random::Random;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

/// Bytes of a unit of `ulimit -f` in POSIX.
const UNIT: usize = 512;

/// Quick, with two trainings and three models written.
const RECIPE: &str = "name = \"cut\"
seed = 3

[defaults]
batch = 32

[[stage]]
kind = \"mask\"
macs = 0.7
training = { epochs = 2, lr = 0.05 }

[[stage]]
kind = \"trp\"
scheme = \"channel\"
macs = 0.5
training = { epochs = 1, lr = 0.05 }

[[stage]]
kind = \"quantize\"
format = \"int8\"
activations = \"int8\"
";

/// The command as a process, which ends with the test.
struct Started(Option<Child>);

impl Started {
    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    /// Waits for its end.
    fn ended(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().unwrap();
        }
    }
}

/// The command with its words as [`Folder::words`] has them.
fn start(folder: &Folder, words: &str) -> Started {
    let child = Command::new(PROGRAM)
        .args(folder.words(words))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Started(Some(child.unwrap()))
}

fn run(folder: &Folder, words: &str) -> Done {
    kinglet(PROGRAM, folder.words(words))
}

/// Runs with files of at most `units` units; beyond them the system kills the process, or fails its writes.
fn run_within(folder: &Folder, units: usize, kill: bool, words: &str) -> Output {
    let ignore = if kill { "" } else { "trap '' XFSZ; " };
    let script = format!("{ignore}ulimit -c 0; ulimit -f {units}; exec \"$0\" \"$@\"");
    Command::new("sh")
        .args(["-c", &script, PROGRAM])
        .args(folder.words(words))
        .output()
        .unwrap()
}

/// Temporary files in a folder and those below it.
fn strays(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(strays(&entry.path()));
        } else if name.ends_with(".tmp") {
            found.push(name);
        }
    }
    found
}

/// A model, its plan, and a key.
fn with_model() -> Folder {
    let folder = Folder::new();
    write::write(&classifier(true), folder.path("model.onnx")).unwrap();
    for words in [
        "compile model.onnx -o small.kinglet --target cortex-m4f --strip",
        "keygen -o device.key",
    ] {
        let done = run(&folder, words);
        assert!(done.succeeded, "{done:?}");
    }
    folder
}

/// A model that was trained for a moment, and a recipe.
fn with_recipe() -> Folder {
    let folder = Folder::new();
    std::fs::write(folder.path("recipe.toml"), RECIPE).unwrap();
    let done = run(
        &folder,
        "train resnet8 --data data.npz -o model.onnx --epochs 1 --batch 32 --lr 0.05",
    );
    assert!(done.succeeded, "{done:?}");
    folder
}

/// Every cut within one output, by a kill and by a full disk: the old file stays, and the next run leaves nothing else.
fn cuts(folder: &Folder, output: &str, words: &str) -> usize {
    let path = folder.path(output);
    let done = run(folder, words);
    assert!(done.succeeded, "{done:?}");
    let whole = std::fs::read(&path).unwrap();
    let mut tried = 0;
    for units in 0..whole.len() / UNIT {
        for (kill, old) in [(true, true), (true, false), (false, true), (false, false)] {
            match old {
                true => std::fs::write(&path, b"an older result").unwrap(),
                false => std::fs::remove_file(&path).unwrap_or(()),
            }
            let cut = run_within(folder, units, kill, words);
            let message = String::from_utf8_lossy(&cut.stderr);
            match kill {
                true => assert!(cut.status.signal().is_some(), "{words}: {cut:?}"),
                false => {
                    assert_eq!(cut.status.code(), Some(1), "{words}: {message}");
                    assert!(message.contains("cannot write"), "{message}");
                    assert_eq!(strays(folder.root()), [""; 0]);
                }
            }
            let now = std::fs::read(&path).ok();
            assert_eq!(now.as_deref(), old.then_some(&b"an older result"[..]));
            tried += 1;
        }
    }
    let done = run(folder, words);
    assert!(done.succeeded, "{done:?}");
    assert!(std::fs::read(&path).unwrap() == whole, "{words}");
    assert_eq!(strays(folder.root()), [""; 0]);
    tried
}

#[test]
fn a_plan_an_image_and_a_model_are_written_whole_or_not_at_all() {
    let folder = with_model();
    let tried = [
        ("a.kinglet", "compile model.onnx -o a.kinglet"),
        (
            "a.image",
            "sign small.kinglet --board mps2-an386 --key device.key --version 2 -o a.image",
        ),
    ]
    .map(|(output, words)| cuts(&folder, output, words));
    println!("cut points: {tried:?}");
    assert!(tried.iter().all(|&n| n >= 16), "{tried:?}");
}

/// Seeded moments at which a compression is killed, each time going on with what the one before left.
#[test]
fn a_compression_that_is_killed_again_and_again_ends_with_the_same_file() {
    let folder = with_recipe();
    let words = "compress model.onnx --data data.npz --recipe recipe.toml";
    let clock = Instant::now();
    let whole = run(&folder, &format!("{words} -o whole.onnx"));
    assert!(whole.succeeded, "{whole:?}");
    let span = clock.elapsed().as_millis() as usize;
    let expected = std::fs::read(folder.path("whole.onnx")).unwrap();
    let (mut random, mut kills) = (Random::new(5), 0);
    let output = folder.path("cut.onnx");
    for _ in 0..12 {
        let mut child = start(&folder, &format!("{words} -o cut.onnx --resume"));
        // Most of the time early on: a resumed run has less to do.
        let moment = random.below(span) * random.below(100) / 100;
        std::thread::sleep(Duration::from_millis(moment as u64));
        child.child().kill().unwrap();
        let ended = child.ended();
        kills += usize::from(ended.status.signal().is_some());
        if let Ok(bytes) = std::fs::read(&output) {
            assert!(bytes == expected, "a whole file or none");
        }
    }
    let done = run(&folder, &format!("{words} -o cut.onnx --resume"));
    assert!(done.succeeded, "{done:?}");
    assert!(std::fs::read(&output).unwrap() == expected);
    assert_eq!(strays(folder.root()), [""; 0]);
    println!("killed {kills} times");
    assert!(kills >= 4, "{kills}");
}

/// Files that do not fit stop a compression with a message; with room it goes on.
#[test]
fn a_compression_on_a_full_disk_goes_on_when_there_is_room() {
    let folder = with_recipe();
    let words = "compress model.onnx --data data.npz --recipe recipe.toml -o a.onnx";
    let model = std::fs::metadata(folder.path("model.onnx")).unwrap().len() as usize;
    for units in [0, model / UNIT / 2, model / UNIT + 8] {
        let full = run_within(&folder, units, false, &format!("{words} --resume"));
        let message = String::from_utf8_lossy(&full.stderr);
        assert_eq!(full.status.code(), Some(1), "{message}");
        assert!(message.contains("cannot write"), "{message}");
        assert!(!folder.path("a.onnx").exists());
        assert_eq!(strays(folder.root()), [""; 0]);
    }
    let done = run(&folder, &format!("{words} --resume"));
    assert!(done.succeeded, "{done:?}");
    let options = LoadOptions::default();
    onnx::load(&folder.path("a.onnx"), &options).unwrap();
}

#[test]
fn the_first_interrupt_ends_in_order_and_a_second_run_waits_for_nobody() {
    let folder = with_recipe();
    let words = "compress model.onnx --data data.npz --recipe recipe.toml -o a.onnx";
    let mut child = start(&folder, &format!("{words} --epochs-scale 500"));
    let lock = folder.path("a.compress/.kinglet-lock");
    let claimed = || std::fs::File::open(&lock).is_ok_and(|f| f.try_lock().is_err());
    let clock = Instant::now();
    while !claimed() {
        assert!(clock.elapsed() < Duration::from_secs(60), "it never begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Another one may not touch what this one writes.
    let second = run(&folder, words);
    second.failed_naming(&["another run of kinglet", "a.compress"]);

    std::thread::sleep(Duration::from_millis(500));
    let mut interrupt = Command::new("kill");
    interrupt.args(["-INT", &child.child().id().to_string()]);
    assert!(interrupt.status().unwrap().success());
    let ended = child.ended();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr),
    );
    assert_eq!(ended.status.code(), Some(130), "{stdout}{stderr}");
    assert!(stdout.contains("go on with --resume"), "{stdout}{stderr}");
    assert!(!folder.path("a.onnx").exists());
    assert_eq!(strays(folder.root()), [""; 0]);
}

/// Two runs with one output at the same time: both end well, and the file is one of theirs.
#[test]
fn two_compilations_into_one_file_leave_a_whole_one() {
    let folder = with_model();
    let words = "compile model.onnx -o a.kinglet";
    assert!(run(&folder, words).succeeded);
    let whole = std::fs::read(folder.path("a.kinglet")).unwrap();
    for _ in 0..5 {
        for child in [0; 4].map(|_| start(&folder, words)) {
            let ended = child.ended();
            assert!(ended.status.success(), "{ended:?}");
            assert!(std::fs::read(folder.path("a.kinglet")).unwrap() == whole);
        }
    }
    assert_eq!(strays(folder.root()), [""; 0]);
}

#[test]
fn a_device_that_is_full_is_said_to_be() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let folder = with_model();
    for words in [
        "compile model.onnx -o /dev/full",
        "sign small.kinglet --board mps2-an386 --key device.key --version 2 -o /dev/full",
    ] {
        let words: Vec<String> = words
            .split(' ')
            .flat_map(|w| match w {
                "/dev/full" => vec![w.to_owned()],
                _ => folder.words(w),
            })
            .collect();
        kinglet(PROGRAM, words).failed_naming(&["cannot write /dev/full", "No space left"]);
    }
}

/// The command as somebody who may not write or read: the superuser may everything.
fn as_nobody(folder: &Folder, words: &str) -> Option<Output> {
    use std::os::unix::fs::MetadataExt;
    let root = std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0);
    let mut command = Command::new(if root { "setpriv" } else { PROGRAM });
    if root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM]);
    }
    let output = command.args(folder.words(words)).output().ok()?;
    // Where nobody may not even start the program there is nothing to see.
    let started = !String::from_utf8_lossy(&output.stderr).contains("failed to execute");
    started.then_some(output)
}

fn set_mode(path: &Path, mode: u32) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, mode).unwrap();
}

#[test]
fn folders_that_cannot_be_written_and_data_that_cannot_be_read_are_named() {
    let folder = with_recipe();
    let root = folder.root();
    set_mode(root, 0o555);
    let cases = [
        ("compile model.onnx -o a.kinglet", "cannot write"),
        (
            "compress model.onnx --data data.npz --recipe recipe.toml -o a.onnx",
            "cannot write",
        ),
        (
            "train resnet8 --data data.npz -o b.onnx --epochs 1",
            "cannot write",
        ),
    ];
    for (words, expected) in cases {
        let Some(output) = as_nobody(&folder, words) else {
            println!("not tried: no setpriv, or the program is out of nobody's reach");
            break;
        };
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {message}");
        assert!(message.contains(expected), "{words}: {message}");
    }
    set_mode(&folder.path("data.npz"), 0o000);
    let words = "compress model.onnx --data data.npz --recipe recipe.toml -o a.onnx";
    if let Some(output) = as_nobody(&folder, words) {
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        for part in ["cannot read", "data.npz"] {
            assert!(message.contains(part), "{message}");
        }
    }
    set_mode(&folder.path("data.npz"), 0o644);
    set_mode(root, 0o755);
}

#[test]
fn a_data_set_that_is_half_there_is_refused_before_anything_is_written() {
    let folder = with_recipe();
    let whole = std::fs::read(folder.path("data.npz")).unwrap();
    for len in [0, 1, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(folder.path("half.npz"), &whole[..len]).unwrap();
        let words = "compress model.onnx --data half.npz --recipe recipe.toml -o a.onnx";
        run(&folder, words).failed_naming(&["half.npz"]);
        assert!(!folder.path("a.onnx").exists() && !folder.path("a.compress").exists());
    }
}
