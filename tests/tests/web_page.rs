//! `kinglet web`: in Chromium, the page classifies what is drawn, and the files run any model, with the host's bytes.

use kinglet_export::compile::{CompileOptions, compile};
use kinglet_export::files::read_tensor;
use kinglet_export::graph::Data;
use kinglet_export::host::Runner;
use kinglet_export::samples;
use kinglet_tests::browser::chromium;
use kinglet_tests::command::kinglet;
use kinglet_tests::general_network::general;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kinglet-tested");

/// Before what the page under test says.
const MARK: &str = "the page says ";

/// Opens `frame.html` of the folder in Chromium until its function `say` was called; what it said, and what the browser complained
/// about until then.
fn browse(folder: &Path, script: &str) -> (Value, Vec<String>) {
    let html = format!(
        "<!DOCTYPE html><meta charset=\"utf-8\"><body><script type=\"module\">\
         const say = (what) => console.log('{MARK}' + encodeURIComponent(JSON.stringify(what)) + '.');\
         try {{ {script} }} catch (e) {{ say({{ failed: String(e) }}); }}</script>"
    );
    fs::write(folder.join("frame.html"), html).unwrap();
    let mut child = chromium(folder, "frame.html")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("chromium starts");
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line.contains("CONSOLE") && send.send(line).is_err() {
                return;
            }
        }
    });
    let mut complaints = Vec::new();
    let said = loop {
        match receive.recv_timeout(Duration::from_secs(120)) {
            Ok(line) => match line.split_once(MARK) {
                Some((_, said)) => break said.split('.').next().unwrap().to_owned(),
                None => complaints.push(line),
            },
            Err(e) => {
                child.kill().unwrap();
                panic!("the page says nothing ({e}); the browser: {complaints:?}");
            }
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let mut bytes = Vec::new();
    let mut rest = said.as_bytes();
    while let [first, tail @ ..] = rest {
        (bytes, rest) = match (first, tail) {
            (b'%', [a, b, tail @ ..]) => {
                let digits = [*a, *b];
                let code = u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16);
                bytes.push(code.unwrap());
                (bytes, tail)
            }
            _ => {
                bytes.push(*first);
                (bytes, tail)
            }
        };
    }
    (serde_json::from_slice(&bytes).unwrap(), complaints)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models")
        .join(name)
}

fn floats(path: &Path) -> Vec<f32> {
    match read_tensor(path).unwrap().data {
        Data::F32(values) => values,
        other => panic!("{other:?}"),
    }
}

/// Samples that are drawn.
const DRAWN: usize = 8;

#[test]
#[ignore = "needs chromium"]
fn drawings_on_the_page_have_the_host_s_classes_and_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let words = ["web".into(), model("digits_int8.onnx"), "-o".into(), page];
    assert!(kinglet(PROGRAM, &words).succeeded);
    let html = fs::read_to_string(folder.path().join("page.html")).unwrap();
    for outside in ["http://", "https://", "src=", "<link", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }

    let images = floats(&model("digits_images.npy"));
    let plan = fs::read(model("digits_int8.kinglet")).unwrap();
    let mut runner = Runner::new(&plan).unwrap();
    let drawn: Vec<&[f32]> = images.chunks(64).take(DRAWN).collect();
    // Pixels have 0 to 16 of 16 points of ink.
    let points: Vec<Vec<u32>> = drawn
        .iter()
        .map(|image| image.iter().map(|p| (p * 16.0).round() as u32).collect())
        .collect();
    let script = format!(
        "const samples = {};
        const frame = document.createElement('iframe');
        frame.style = 'width:390px;height:844px;border:0';
        frame.src = 'page.html';
        document.body.append(frame);
        for (;;) {{
          await new Promise((done) => setTimeout(done, 20));
          if (frame.contentDocument?.body?.dataset.ready) break;
        }}
        const page = frame.contentDocument;
        const of = (id) => page.getElementById(id);
        const [ink, pen] = [of('ink'), of('ink').getContext('2d')];
        of('fit').checked = false;
        const up = () => ink.dispatchEvent(new frame.contentWindow.PointerEvent('pointerup'));
        const found = samples.map((points) => {{
          of('clear').click();
          points.forEach((n, i) => {{
            for (let k = 0; k < n; k++)
              pen.fillRect(40 * (i % 8) + 10 * (k % 4), 40 * Math.floor(i / 8) + 10 * Math.floor(k / 4), 10, 10);
          }});
          up();
          return {{ class: of('answer').textContent, bytes: of('answer').dataset.bytes }};
        }});
        // A one in the corner, with a mouse.
        of('clear').click();
        of('fit').checked = true;
        ink.setPointerCapture = () => {{}};
        const box = ink.getBoundingClientRect();
        const at = (type, x, y) => ink.dispatchEvent(new frame.contentWindow.PointerEvent(type,
          {{ pointerId: 1, clientX: box.left + x * box.width, clientY: box.top + y * box.height }}));
        at('pointerdown', 0.2, 0.2);
        at('pointermove', 0.2, 0.45);
        at('pointerup', 0.2, 0.45);
        say({{ found, bars: of('scores').children.length, width: page.documentElement.scrollWidth, stroke: of('answer').textContent }});",
        json!(points)
    );
    let (said, complaints) = browse(folder.path(), &script);
    assert_eq!(complaints, [""; 0]);
    let found = said["found"].as_array().unwrap_or_else(|| panic!("{said}"));
    for (image, found) in drawn.iter().zip(found) {
        let bytes: Vec<u8> = image.iter().flat_map(|v| v.to_le_bytes()).collect();
        let output = runner.run(&bytes, &mut ()).unwrap().remove(0);
        let scores = output.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
        let best = scores.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        assert_eq!(found["bytes"], hex(&output));
        assert_eq!(found["class"], best.unwrap().0.to_string());
    }
    assert_eq!(found.len(), DRAWN);
    assert_eq!((&said["bars"], &said["width"]), (&json!(20), &json!(390)));
    assert_eq!(said["stroke"], "1");
}

#[test]
#[ignore = "needs chromium"]
fn the_files_run_any_model_with_the_host_s_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let plan = compile(&general(), &CompileOptions::default()).unwrap();
    let path = folder.path().join("general.kinglet");
    fs::write(&path, &plan.file).unwrap();
    let words = [
        "web".into(),
        path.clone(),
        "-o".into(),
        folder.path().join("site"),
    ];
    assert!(kinglet(PROGRAM, &words).succeeded);
    // Nobody can draw for it.
    let page = folder.path().join("page.html");
    let words = ["web".into(), path, "-o".into(), page.clone()];
    kinglet(PROGRAM, &words).failed_naming(&["one grey picture", "inputs", "-o site"]);
    assert!(!page.exists());

    let mut runner = Runner::new(plan.core()).unwrap();
    let plan_of = runner.plan().unwrap();
    let sample = samples::random(&plan_of);
    let (mut rest, mut inputs, mut without_states) = (&sample[..], Vec::new(), Vec::new());
    for index in 0..plan_of.input_count() {
        let info = plan_of.input(index).unwrap();
        let (bytes, tail) = rest.split_at(info.len);
        inputs.push(json!({ "name": info.name, "bytes": bytes, "state": info.state > 0 }));
        if info.state == 0 {
            without_states.extend_from_slice(bytes);
        }
        rest = tail;
    }
    assert!(without_states.len() < sample.len(), "it carries a state");
    let host = runner.run_all([&sample[..], &without_states], &mut ());
    let host: Vec<Vec<String>> = host
        .unwrap()
        .iter()
        .map(|outputs| outputs.iter().map(|o| hex(o)).collect())
        .collect();
    let mut damaged = plan.core().to_vec();
    damaged[100] ^= 1;
    let module = fs::read(folder.path().join("site/kinglet.wasm")).unwrap();
    let script = format!(
        "const {{ Model }} = await import('./site/kinglet.js');
        const [plan, damaged, wasm, inputs] = [{}, {}, {}, {}];
        const options = {{ wasm: Uint8Array.from(wasm) }};
        const model = await Model.load(Uint8Array.from(plan), options);
        const types = {{ float32: Float32Array, int8: Int8Array, uint8: Uint8Array, int32: Int32Array }};
        const typed = (i) => new types[model.inputs.find((t) => t.name === i.name).dtype](Uint8Array.from(i.bytes).buffer);
        const hex = (o) => model.outputs.map((t) => Array.from(new Uint8Array(o[t.name].buffer), (b) => b.toString(16).padStart(2, '0')).join(''));
        const all = Object.fromEntries(inputs.map((i) => [i.name, typed(i)]));
        const carried = Object.fromEntries(inputs.filter((i) => !i.state).map((i) => [i.name, typed(i)]));
        const runs = [hex(model.run(all)), hex(model.run(carried))];
        const failed = [];
        const refused = (e) => failed.push(e.message);
        await Model.load(Uint8Array.from(damaged), options).catch(refused);
        for (const wrong of [new Float32Array(3), {{ other: new Float32Array(1) }}, {{ ...all, [inputs[0].name]: new Float32Array(1) }}, {{}}])
          try {{ model.run(wrong); }} catch (e) {{ refused(e); }}
        say({{ runs, failed, shape: model.inputs[0].shape }});",
        json!(plan.core()),
        json!(damaged),
        json!(module),
        json!(inputs)
    );
    let (said, complaints) = browse(folder.path(), &script);
    assert_eq!(complaints, [""; 0]);
    assert_eq!(said["runs"], json!(host), "{}", said["failed"]);
    assert_eq!(said["shape"], json!([2, 3, 4]));
    let expected = [
        "not a valid plan: ",
        "run it with an object of arrays by name",
        "there is no input other",
        "takes a Float32Array of 24 elements (shape 2x3x4)",
        "takes a Float32Array of 24 elements (shape 2x3x4)",
    ];
    let failed = said["failed"].as_array().unwrap();
    assert_eq!(failed.len(), expected.len(), "{failed:?}");
    for (found, expected) in failed.iter().zip(expected) {
        let found = found.as_str().unwrap();
        assert!(found.contains(expected), "`{expected}` is not in `{found}`");
    }
}
