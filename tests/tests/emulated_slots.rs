//! Model slots on the emulated board: images that come over its UART, run, are given up or refused, while the model before answers.

use kinglet::format::{CRC, CRC_START, Header};
use kinglet::slots::{CHUNK_LEN, Message, Refusal, Reply};
use kinglet_export::compile::Target;
use kinglet_export::emulate::{SlotsDevice, board, start_slots};
use kinglet_export::files::read_tensor;
use kinglet_export::graph::Data;
use kinglet_export::host::Runner;
use kinglet_export::slots::{Link, SecretKey, SignOptions, Transport, open, seal};
use kinglet_tests::apps::{file, plan};
use kinglet_tests::command::{Done, kinglet};
use serde_json::Value;
use std::fs;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");
const BOARD: &str = "mps2-an386";
/// The firmware's frame for an inference.
const INFER: u8 = 0x40;

/// A device, and a folder with the key whose images it takes.
struct Bench {
    device: SlotsDevice,
    key: SecretKey,
    folder: TempDir,
    int8: Vec<u8>,
    float: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        // Always the same key, so that the firmware is built once.
        let key = SecretKey::from_seed(&[5; 32]);
        let folder = tempfile::tempdir().unwrap();
        key.write(&folder.path().join("model.key")).unwrap();
        let board = board(BOARD).unwrap();
        Bench {
            device: start_slots(board, &key.public().0, &|_| ()).unwrap(),
            key,
            folder,
            int8: plan(&model("digits_int8.onnx"), board.plan_target),
            float: plan(&model("digits.onnx"), board.plan_target),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An image in a file, signed by the library.
    fn sealed(&self, plan: &[u8], version: u32, target: Target, key: &SecretKey) -> PathBuf {
        let options = SignOptions {
            version,
            target,
            allow_older: false,
        };
        let path = self.path(&format!("{version}.image"));
        fs::write(&path, seal(plan, options, key).unwrap()).unwrap();
        path
    }

    fn push(&self, image: &Path) -> Done {
        let image = image.to_str().unwrap();
        kinglet(
            PROGRAM,
            ["push", image, "--port", self.device.port(), "--json"],
        )
    }

    /// Pushes an image that does not come to run; what the command says.
    fn push_in_vain(&self, image: &Path) -> (Value, String) {
        let done = self.push(image);
        assert_eq!(done.code, Some(1), "{done:?}");
        (serde_json::from_str(&done.stdout).unwrap(), done.stderr)
    }

    fn link(&self) -> Link<Box<dyn Transport>> {
        Link::new(open(self.device.port()).unwrap())
    }

    /// The device answers as `plan` does on this machine.
    fn answers_like(&self, plan: &[u8]) {
        answers(&mut self.link(), plan);
    }
}

fn model(name: &str) -> PathBuf {
    file("tests/models").join(name)
}

fn answers<T: Transport>(link: &mut Link<T>, plan: &[u8]) {
    let Data::F32(images) = read_tensor(model("digits_images.npy")).unwrap().data else {
        panic!("the images are floats");
    };
    let image: Vec<u8> = images[..64].iter().flat_map(|p| p.to_le_bytes()).collect();
    let mut runner = Runner::new(plan).unwrap();
    let expected = runner.run(&image, &mut ()).unwrap().concat();
    assert_eq!(link.ask(INFER, &image).unwrap(), expected);
}

/// The plan with a self-test that fails.
fn failing(plan: &[u8]) -> Vec<u8> {
    let mut plan = plan.to_vec();
    plan[offset_of!(Header, self_test_digest)] ^= 1;
    let crc = CRC.checksum(&plan[CRC_START..]);
    plan[offset_of!(Header, crc)..][..4].copy_from_slice(&crc.to_le_bytes());
    plan
}

#[test]
fn models_come_go_and_are_refused_over_the_uart() {
    let bench = Bench::new();
    let nothing = bench.link().ask(INFER, &[0; 256]).unwrap();
    assert!(nothing.is_empty(), "no model runs yet");

    // The first, through the commands.
    let image = bench.path("first.image");
    let key = bench.path("model.key");
    let onnx = model("digits_int8.onnx");
    let signed = kinglet(
        PROGRAM,
        [
            "sign",
            onnx.to_str().unwrap(),
            "--board",
            BOARD,
            "--key",
            key.to_str().unwrap(),
            "--version",
            "1",
            "-o",
            image.to_str().unwrap(),
            "--json",
        ],
    )
    .json();
    assert_eq!(signed["target"], "cortex-m4f");
    let pushed = bench.push(&image).json();
    assert_eq!(
        (&pushed["result"], &pushed["version"]),
        (&"confirmed".into(), &1.into())
    );
    bench.answers_like(&bench.int8);

    // The second comes part by part, while the first answers.
    let second = bench.sealed(&bench.float, 2, Target::CortexM4f, &bench.key);
    let bytes = fs::read(&second).unwrap();
    let mut link = bench.link();
    let len = bytes.len() as u32;
    assert!(
        matches!(link.request(Message::Status), Ok(Reply::Status(status)) if status.version == 1)
    );
    assert_eq!(
        link.request(Message::Begin { len }).unwrap(),
        Reply::Done { value: 0 }
    );
    let mut asked = 0;
    for (index, part) in bytes.chunks(CHUNK_LEN).enumerate() {
        let offset = (index * CHUNK_LEN) as u32;
        let value = offset + part.len() as u32;
        let done = link
            .request(Message::Data {
                offset,
                bytes: part,
            })
            .unwrap();
        assert_eq!(done, Reply::Done { value });
        if index % 4 == 0 {
            answers(&mut link, &bench.int8);
            asked += 1;
        }
    }
    drop(link);
    assert!(asked > 10, "{asked} inferences while {len} bytes came");
    // And through the command, from the start.
    let pushed = bench.push(&second).json();
    assert_eq!(pushed["result"], "confirmed");
    bench.answers_like(&bench.float);

    // One whose self-test fails is tried, and given up.
    let fails = bench.sealed(&failing(&bench.int8), 3, Target::CortexM4f, &bench.key);
    let (said, text) = bench.push_in_vain(&fails);
    assert_eq!(said["result"], "rolled-back");
    assert!(
        text.contains("gave version 3 up: the self-test's outputs"),
        "{text}"
    );
    assert!(text.contains("version 2 runs"), "{text}");
    bench.answers_like(&bench.float);

    // What is not taken at all.
    let stranger = SecretKey::from_seed(&[6; 32]);
    let mut forged = fs::read(bench.sealed(&bench.int8, 4, Target::CortexM4f, &bench.key)).unwrap();
    forged[70] ^= 1;
    let forged_path = bench.path("forged.image");
    fs::write(&forged_path, forged).unwrap();
    let mut damaged = fs::read(bench.path("4.image")).unwrap();
    let last = damaged.len() - 100;
    damaged[last] ^= 1;
    let damaged_path = bench.path("damaged.image");
    fs::write(&damaged_path, damaged).unwrap();
    let refusals = [
        (forged_path, "bad-signature"),
        (damaged_path, "corrupt"),
        (
            bench.sealed(&bench.int8, 5, Target::CortexM4f, &stranger),
            "wrong-key",
        ),
        (
            bench.sealed(&bench.int8, 6, Target::CortexM55, &bench.key),
            "wrong-target",
        ),
        (
            bench.sealed(&bench.int8, 2, Target::CortexM4f, &bench.key),
            "not-newer",
        ),
    ];
    for (image, name) in refusals {
        let (said, text) = bench.push_in_vain(&image);
        assert_eq!(
            (&said["result"], &said["refusal"]),
            (&"refused".into(), &name.into())
        );
        assert!(
            text.contains(name) && text.contains("version 2 runs"),
            "{text}"
        );
        bench.answers_like(&bench.float);
    }

    // A good one again.
    let good = bench.sealed(&bench.int8, 7, Target::CortexM4f, &bench.key);
    assert_eq!(bench.push(&good).json()["result"], "confirmed");
    bench.answers_like(&bench.int8);
    let log = bench.device.log().unwrap();
    println!("{}", log.join("\n"));
    assert!(
        log.iter()
            .any(|line| line.contains("version 3 was given up: SelfTest")),
        "{log:?}"
    );
}

#[test]
fn a_push_that_is_killed_leaves_a_model_that_runs() {
    let bench = Bench::new();
    let first = bench.sealed(&bench.int8, 1, Target::CortexM4f, &bench.key);
    let begin = Instant::now();
    assert_eq!(bench.push(&first).json()["result"], "confirmed");
    let whole = begin.elapsed();
    let second = bench.sealed(&bench.float, 2, Target::CortexM4f, &bench.key);
    for percent in [2, 10, 25, 40, 60, 80] {
        let mut push = Command::new(PROGRAM)
            .args([Path::new("push"), &second, Path::new("--port")])
            .arg(bench.device.port())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * percent / 100);
        push.kill().unwrap();
        push.wait().unwrap();
        let mut link = bench.link();
        let status = link.request(Message::Status);
        let Ok(Reply::Status(status)) = status else {
            panic!("after {percent} %: {status:?}")
        };
        let runs = match status.version {
            1 => &bench.int8,
            2 => &bench.float,
            other => panic!("version {other}"),
        };
        println!("killed after {percent} %: version {}", status.version);
        answers(&mut link, runs);
    }
    let third = bench.sealed(&bench.float, 3, Target::CortexM4f, &bench.key);
    assert_eq!(bench.push(&third).json()["result"], "confirmed");
    bench.answers_like(&bench.float);
}

#[test]
fn an_image_too_long_for_the_device_is_refused_at_once() {
    let bench = Bench::new();
    let reply = bench
        .link()
        .request(Message::Begin { len: 1 << 20 })
        .unwrap();
    assert!(
        matches!(reply, Reply::Refused(Refusal::TooLong { .. })),
        "{reply:?}"
    );
    let done = kinglet(
        PROGRAM,
        [
            "push",
            model("digits.onnx").to_str().unwrap(),
            "--port",
            bench.device.port(),
        ],
    );
    done.failed_naming(&["not an image to push", "kinglet sign"]);
}
