//! Tensors whose bytes lie in a file beside the model, as PyTorch's exporter writes them.

use super::OnnxError;
use crate::limits::Limits;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};
use tract_onnx::pb::{ModelProto, TensorProto};

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// Reads every initialiser's bytes into the model, from files in the folder of `model`; together no more than a file may have.
pub(super) fn load(proto: &mut ModelProto, model: &Path, limits: &Limits) -> Result<(), OnnxError> {
    let folder = model.parent().unwrap_or(Path::new(""));
    let mut left = limits.file_bytes;
    let tensors = proto.graph.iter_mut().flat_map(|g| &mut g.initializer);
    for tensor in tensors.filter(|t| t.data_location == Some(EXTERNAL)) {
        let bytes = read(tensor, folder, &mut left).map_err(|message| OnnxError::Tensor {
            tensor: tensor.name.clone(),
            message,
        })?;
        tensor.raw_data = bytes;
        tensor.external_data.clear();
        tensor.data_location = None;
    }
    Ok(())
}

/// The bytes of one tensor; at most `left` may still be read.
fn read(tensor: &TensorProto, folder: &Path, left: &mut u64) -> Result<Vec<u8>, String> {
    let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key);
    let name = entry("location").map_or("", |e| e.value.as_str());
    let inside = |c: Component<'_>| matches!(c, Component::Normal(_));
    if name.is_empty() || !Path::new(name).components().all(inside) {
        return Err(format!(
            "its data is in `{name}`, which is no file in the model's folder"
        ));
    }
    let number = |key: &str| match entry(key) {
        Some(e) => e.value.parse::<u64>().map(Some),
        None => Ok(None),
    };
    let numbers = number("offset").and_then(|offset| Ok((offset, number("length")?)));
    let (offset, length) = numbers.map_err(|e| format!("its place in `{name}`: {e}"))?;
    let offset = offset.unwrap_or(0);
    let unreadable = |e: std::io::Error| {
        format!(
            "its data cannot be read from `{name}`: {e}. That file belongs beside the model; or export the model in one \
             file (torch.onnx.export(…, external_data=False))"
        )
    };
    let mut file = File::open(folder.join(name)).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let rest = size.saturating_sub(offset);
    let length = length.unwrap_or(rest);
    if length > rest {
        return Err(format!(
            "its data are {length} bytes from byte {offset} on of `{name}`, which has {size}"
        ));
    }
    *left = left
        .checked_sub(length)
        .ok_or("it and those before it have more bytes than a model's file may have")?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
    file.take(length)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tract_onnx::pb::{GraphProto, StringStringEntryProto};

    fn model(entries: &[(&str, &str)]) -> ModelProto {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
            key: key.to_string(),
            value: value.to_string(),
        };
        let tensor = TensorProto {
            name: "w".into(),
            data_location: Some(EXTERNAL),
            external_data: entries.iter().map(entry).collect(),
            ..TensorProto::default()
        };
        ModelProto {
            graph: Some(GraphProto {
                initializer: vec![tensor],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }

    #[test]
    fn bytes_come_from_the_file_beside_the_model_and_from_nowhere_else() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("inner")).expect("a folder");
        fs::write(folder.path().join("secret"), [9; 8]).expect("written");
        fs::write(folder.path().join("inner/m.data"), [1, 2, 3, 4, 5]).expect("written");
        let path = folder.path().join("inner/m.onnx");
        let bytes = |entries: &[(&str, &str)]| {
            let mut proto = model(entries);
            load(&mut proto, &path, &Limits::default()).map_err(|e| e.to_string())?;
            let tensor = proto.graph.and_then(|mut g| g.initializer.pop());
            let tensor = tensor.ok_or("no tensor")?;
            assert!(tensor.external_data.is_empty() && tensor.data_location.is_none());
            Ok::<_, String>(tensor.raw_data)
        };
        let at = |offset, length| {
            bytes(&[
                ("location", "m.data"),
                ("offset", offset),
                ("length", length),
            ])
        };
        assert_eq!(at("1", "3"), Ok(vec![2, 3, 4]));
        assert_eq!(bytes(&[("location", "m.data")]), Ok(vec![1, 2, 3, 4, 5]));
        for place in ["../secret", "/etc/hostname", ""] {
            let text = bytes(&[("location", place)]).expect_err("refused");
            assert!(text.contains("no file in the model's folder"), "{text}");
        }
        for (offset, length) in [("3", "3"), ("9", "1"), ("18446744073709551615", "1")] {
            let text = at(offset, length).expect_err("refused");
            assert!(text.contains("which has 5"), "{text}");
        }
        assert!(at("x", "1").is_err());
        let text = bytes(&[("location", "none.data")]).expect_err("refused");
        assert!(text.contains("external_data=False"), "{text}");
    }
}
