//! Files of users (recipes, arrays, images, checkpoints), and the decoders of stored weights.

use kinglet::formats::golomb::BitReader;
use kinglet::formats::levels::{Levels, Pair};
use kinglet::formats::{Format, Rf8, rf8};
use kinglet_export::compress::recipe::Recipe;
use kinglet_export::data::{decode_idx, decode_picture};
use kinglet_export::files;
use kinglet_export::train::checkpoint::{Checkpoint, EpochMetrics, Progress};
use kinglet_export::train::tape::Tensor;
use std::io::Write;
use std::path::Path;

/// Pixels of an image in the tests. `kinglet_export::limits` has the number for users.
const PIXELS: u64 = 1 << 18;

/// A recipe.
pub fn recipe(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    match Recipe::parse(&text, "recipe.toml") {
        Ok(recipe) => !recipe.stages.is_empty(),
        Err(error) => {
            // Errors quote the place that they mean.
            assert!(!format!("{:?}", miette::Report::new(error)).is_empty());
            false
        }
    }
}

/// Those that are committed.
pub fn recipes() -> Vec<Vec<u8>> {
    [
        include_bytes!("../../../export/recipes/all.toml").as_slice(),
        include_bytes!("../../../export/recipes/few-bits.toml"),
        include_bytes!("../../../export/recipes/gated-blocks.toml"),
        include_bytes!("../../../export/recipes/low-rank.toml"),
        include_bytes!("../../../export/recipes/masked-channels.toml"),
        include_bytes!("../../../export/recipes/resnet8-cifar10-small.toml"),
        include_bytes!("../../../export/recipes/rf8.toml"),
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Exp-Golomb codes, by the bit reader and by the fast decoder; where both read a code, it is the same.
pub fn golomb(bytes: &[u8]) -> bool {
    let Some((&first, codes)) = bytes.split_first() else {
        return false;
    };
    let order = u32::from(first);
    let mut slow = BitReader::new(codes);
    let mut ends = false;
    for _ in 0..8 * codes.len() {
        ends |= slow.signed(order).is_none();
    }
    let mut slow = vec![0i8; 2 * codes.len()];
    let read = BitReader::new(codes).read_int8(order, &mut slow);
    for pair in [Pair::Bytes, Pair::Sum] {
        let mut table = [0; 256];
        let mut levels = Levels::new(order, pair, &mut table);
        levels.start(codes);
        let mut fast = vec![0u16; codes.len()];
        levels.decode(&mut fast);
        let even = codes.len().is_multiple_of(2);
        // −128 has no code of 16 bits, and the fast decoder no order above 2.
        let common = order <= 2 && even && pair == Pair::Bytes && !slow.contains(&-128);
        if read.is_some() && common {
            let fast: Vec<u8> = fast.iter().flat_map(|w| w.to_le_bytes()).collect();
            assert!(fast.iter().zip(&slow).all(|(&f, &s)| f == s as u8));
        }
    }
    ends
}

/// RF8: codes to values and products, values to codes.
pub fn rf8(bytes: &[u8]) -> bool {
    let (codes, rest) = bytes.split_at(bytes.len() / 2);
    for &code in codes {
        let value = Rf8::decode(code);
        assert!(value.is_finite() && value.abs() <= Rf8::MAX);
        assert_eq!(Rf8::decode(Rf8::encode(value)), value);
    }
    let x: Vec<i8> = rest.iter().map(|&b| b as i8).collect();
    let short = codes.len().min(x.len()).min(rf8::TOP_TERMS);
    let sum: i64 = codes
        .iter()
        .zip(&x)
        .map(|(&c, &x)| rf8::product(c, x))
        .sum();
    assert_eq!(rf8::dot(codes, &x), sum);
    let _bounded = rf8::dot_top(&codes[..short], &x[..short]);
    for &word in bytes.as_chunks::<4>().0 {
        let any = f32::from_le_bytes(word);
        assert!(Rf8::decode(rf8::encode_reference(any)).is_finite());
        assert!(Rf8::decode(Rf8::encode(any)).is_finite());
        assert!(Rf8::scale(any) > 0.0);
    }
    true
}

/// Bytes of all kinds.
pub fn noise() -> Vec<Vec<u8>> {
    let mut random = crate::random::Random::new(11);
    let mut bytes = |len: usize| (0..len).map(|_| random.byte() as u8).collect();
    let mut all: Vec<Vec<u8>> = vec![bytes(200), bytes(33), vec![0; 60], vec![0xff; 61]];
    // Orders that exist.
    for (order, codes) in all.iter_mut().enumerate() {
        codes[0] = order as u8;
    }
    all
}

/// `.npz` by its first bytes, `.npy` otherwise.
pub fn array(bytes: &[u8]) -> bool {
    let name = if bytes.starts_with(b"PK") {
        "x.npz"
    } else {
        "x.npy"
    };
    let tensor = files::decode_tensor(bytes, Path::new(name), None);
    let named = files::decode_tensor(bytes, Path::new("x.npz"), Some("b"));
    if let Ok(tensor) = &tensor {
        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len());
    }
    tensor.is_ok() || named.is_ok()
}

/// Arrays of several types, and archives of them.
pub fn arrays() -> Vec<Vec<u8>> {
    use ndarray_npy::{NpzWriter, WriteNpyExt};
    let mut all = vec![include_bytes!("../../models/digits_labels.npy").to_vec()];
    let mut plain = Vec::new();
    let reals = ndarray::arr2(&[[1.0f32, 2.0], [3.0, -4.0]]);
    reals.write_npy(&mut plain).expect("written");
    all.push(plain);
    for compressed in [false, true] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = match compressed {
            true => NpzWriter::new_compressed(&mut bytes),
            false => NpzWriter::new(&mut bytes),
        };
        writer
            .add_array("b", &ndarray::arr1(&[1u8, 2, 3]))
            .expect("added");
        if compressed {
            let zeros = ndarray::Array3::<i64>::zeros((4, 25, 10));
            writer.add_array("a", &zeros).expect("added");
        }
        writer.finish().expect("finished");
        all.push(bytes.into_inner());
    }
    all
}

/// An image.
pub fn picture(bytes: &[u8]) -> bool {
    match decode_picture(bytes, PIXELS) {
        Ok((width, height, channels, pixels)) => {
            assert_eq!(pixels.len(), width * height * channels);
            true
        }
        Err(reason) => {
            assert!(!reason.is_empty());
            false
        }
    }
}

/// Images of 8×6 pixels: WebP with and without transparency, PNG.
pub fn pictures() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for colour in [image_webp::ColorType::Rgb8, image_webp::ColorType::Rgba8] {
        let depth = if colour == image_webp::ColorType::Rgb8 {
            3
        } else {
            4
        };
        let pixels: Vec<u8> = (0..8 * 6 * depth).map(|i| (i * 37) as u8).collect();
        let mut bytes = Vec::new();
        let encoder = image_webp::WebPEncoder::new(&mut bytes);
        encoder.encode(&pixels, 8, 6, colour).expect("encoded");
        all.push(bytes);
    }
    for (colour, depth) in [(png::ColorType::Grayscale, 1), (png::ColorType::Rgba, 4)] {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 8, 6);
        encoder.set_color(colour);
        let mut writer = encoder.write_header().expect("written");
        let pixels: Vec<u8> = (0..48 * depth).map(|i| (i * 53) as u8).collect();
        writer.write_image_data(&pixels).expect("written");
        writer.finish().expect("written");
        all.push(bytes);
    }
    all
}

/// MNIST's form, gzip by the first bytes; images or labels.
pub fn idx(bytes: &[u8]) -> bool {
    let packed = bytes.starts_with(&[0x1f, 0x8b]);
    let read = [1, 3].map(|rank| decode_idx(bytes.to_vec(), packed, rank));
    for (dims, elements) in read.iter().flatten() {
        assert_eq!(dims.iter().product::<usize>(), elements.len());
    }
    read.iter().any(Result::is_ok)
}

/// Images and labels, plain and packed.
pub fn idx_files() -> Vec<Vec<u8>> {
    let labels = [&[0, 0, 8, 1, 0, 0, 0, 3][..], &[7, 8, 9]].concat();
    let images = [
        &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3][..],
        &[5; 12],
    ]
    .concat();
    let pack = |plain: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(plain).expect("packed");
        packed.finish().expect("packed")
    };
    vec![pack(&images), pack(&labels), images, labels]
}

/// A run's state.
pub fn checkpoint(bytes: &[u8]) -> bool {
    match Checkpoint::decode(bytes, Path::new("x.safetensors")) {
        Ok(checkpoint) => {
            for tensor in checkpoint.tensors.values() {
                assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len());
            }
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// A small one.
pub fn checkpoints() -> Vec<Vec<u8>> {
    let mut checkpoint = Checkpoint {
        progress: Progress {
            epoch: 3,
            sums: [0.5, 1.0, 7.0, 0.1],
            ..Progress::default()
        },
        ..Checkpoint::default()
    };
    checkpoint.progress.history.push(EpochMetrics {
        epoch: 1,
        loss: 0.5,
        accuracy: 0.25,
        test_loss: 0.5,
        test_accuracy: 0.5,
        rate: 0.1,
        seconds: 2.0,
        extra: serde_json::Map::new(),
    });
    for (name, shape) in [("parameters/1/w", vec![2, 3]), ("statistics/2/m", vec![4])] {
        let data = vec![0.25; shape.iter().product()];
        checkpoint
            .tensors
            .insert(name.into(), Tensor::new(shape, data));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("checkpoint");
    checkpoint.write(&path).expect("written");
    vec![std::fs::read(path).expect("read")]
}
