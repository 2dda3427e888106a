//! Folders of images, one a class.

use super::picture::{self, is_picture};
use super::{DataError, Dataset, Elements, Split, list};
use std::path::{Path, PathBuf};

pub(super) fn read(path: &Path, name: String) -> Result<Dataset, DataError> {
    let sub = |names: &[&str]| names.iter().map(|n| path.join(n)).find(|p| p.is_dir());
    let (train, test) = match (
        sub(&["train", "training"]),
        sub(&["test", "val", "validation"]),
    ) {
        (Some(train), test) => (train, test),
        _ => (path.to_path_buf(), None),
    };
    let classes = classes(&train)?;
    if classes.is_empty() {
        return Err(DataError::Unknown { path: path.into() });
    }
    let mut shape = None;
    let train = split(&train, &classes, &mut shape)?;
    let test = match test {
        Some(test) => Some(split(&test, &classes, &mut shape)?),
        None => None,
    };
    let shape = shape.unwrap_or_default();
    Dataset::new(path, name, shape.to_vec(), train, test)
}

/// Names of the folders that hold images.
fn classes(path: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for folder in list(path)?.into_iter().filter(|p| p.is_dir()) {
        if list(&folder)?.iter().any(|p| is_picture(p))
            && let Some(name) = folder.file_name()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn split(
    path: &Path,
    classes: &[String],
    shape: &mut Option<[usize; 3]>,
) -> Result<Split, DataError> {
    let mut elements = Vec::new();
    let mut labels = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let folder = path.join(class);
        let files: Vec<PathBuf> = list(&folder)?;
        for file in files.iter().filter(|p| is_picture(p)) {
            let image = picture::read(file)?;
            let own = [image.channels, image.height, image.width];
            let expected = *shape.get_or_insert(own);
            if own != expected {
                return Err(DataError::Malformed {
                    path: file.clone(),
                    reason: format!(
                        "[channels, height, width] are {own:?}, those of the first image {expected:?}: bring all images to one size first"
                    ),
                });
            }
            elements.extend(image.pixels);
            labels.push(label as u16);
        }
    }
    Ok(Split {
        elements: Elements::U8(elements),
        labels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(path: &Path, width: u32, value: u8) {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let file = std::fs::File::create(path).expect("made");
        let mut encoder = png::Encoder::new(file, width, 1);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().expect("written");
        let pixels = vec![value; 3 * width as usize];
        writer.write_image_data(&pixels).expect("written");
    }

    #[test]
    fn a_folder_a_class_with_and_without_a_test_set() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |p: &str| folder.path().join(p);
        png(&at("train/cat/1.png"), 2, 10);
        png(&at("train/dog/1.png"), 2, 20);
        png(&at("test/dog/1.png"), 2, 30);
        std::fs::create_dir_all(at("test/cat")).expect("made");
        let data = super::super::open(folder.path()).expect("a dataset");
        assert_eq!(data.shape, [3, 1, 2]);
        assert_eq!(data.train.labels, [0, 1]);
        assert_eq!(data.test.elements, Elements::U8(vec![30; 6]));
        png(&at("train/cat/2.png"), 3, 10);
        let error = super::super::open(folder.path())
            .err()
            .map(|e| e.to_string());
        assert!(error.is_some_and(|e| e.contains("one size")));
    }

    #[test]
    fn a_folder_without_anything_says_what_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = super::super::open(folder.path())
            .err()
            .map(|e| e.to_string());
        assert!(error.is_some_and(|e| e.contains("CIFAR-10")));
    }
}
