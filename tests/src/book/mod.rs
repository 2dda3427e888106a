//! The book: `docs/` as mdBook renders it, with chapters whose text lies elsewhere in the repository.
//!
//! Pages link to each other as files of the repository, so that they can be read there. Some chapters are one line that includes a
//! page from outside of `docs`; in the book, links have to lead to the chapter instead.

pub mod links;

use crate::root;
use links::{Link, links};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// Folder of the book's pages in the repository.
pub const FOLDER: &str = "docs";

/// Markdown files under version control, or that could be, as paths from the repository's root.
///
/// # Panics
///
/// Without git.
pub fn pages() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .arg("*.md")
        .current_dir(root())
        .output();
    let listed = listed.expect("git lists files");
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8_lossy(&listed.stdout);
    listed.lines().map(PathBuf::from).collect()
}

/// Chapters by the page whose text they have; both are paths from the repository's root.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Chapters {
    chapters: BTreeMap<PathBuf, PathBuf>,
}

impl Chapters {
    /// The chapters that `SUMMARY.md` in `text` names, in the repository at `root`.
    ///
    /// # Errors
    ///
    /// A message that names the chapter that cannot be read, or that is there twice.
    pub fn read(root: &Path, text: &str) -> Result<Chapters, String> {
        let mut chapters = BTreeMap::new();
        // Nested entries are indented, and are no code.
        let text = text.replace("    ", " ");
        for link in links(&text) {
            let chapter = normal(&Path::new(FOLDER).join(&text[link.target]));
            let file = root.join(&chapter);
            let content = std::fs::read_to_string(&file)
                .map_err(|e| format!("SUMMARY.md names {}: {e}", chapter.display()))?;
            let page = match included(&content) {
                Some(path) => normal(&chapter.with_file_name("").join(path)),
                None => chapter.clone(),
            };
            if let Some(other) = chapters.insert(page.clone(), chapter) {
                return Err(format!(
                    "{} is in {} as well",
                    page.display(),
                    other.display()
                ));
            }
        }
        Ok(Chapters { chapters })
    }

    /// Pages that are in the book.
    pub fn pages(&self) -> impl Iterator<Item = &Path> {
        self.chapters.keys().map(PathBuf::as_path)
    }

    /// `content` of `chapter` with links to other chapters and pictures; links to what is not in the book become plain text.
    pub fn rewrite(&self, chapter: &Path, content: &str) -> String {
        let here = self.chapters.iter().find(|(_, c)| *c == chapter);
        let page = here.map_or(chapter, |(page, _)| page);
        let mut text = String::with_capacity(content.len());
        let mut end = 0;
        for link in links(content) {
            let target = &content[link.target.clone()];
            if Link::leads_elsewhere(target) {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = normal(&page.with_file_name("").join(path));
            let to = match self.chapters.get(&to) {
                Some(chapter) => Some(chapter.clone()),
                // Pictures; a folder is no page.
                None => (to.starts_with(FOLDER) && to.extension().is_some()).then_some(to),
            };
            text.push_str(&content[end..link.whole.start]);
            match to {
                Some(to) => {
                    text.push_str(&content[link.whole.start..link.target.start]);
                    text.push_str(&relative(chapter, &to));
                    if !anchor.is_empty() {
                        text.push('#');
                        text.push_str(anchor);
                    }
                    text.push(')');
                }
                None => text.push_str(&content[link.text.clone()]),
            }
            end = link.whole.end;
        }
        text.push_str(&content[end..]);
        text
    }

    /// Rewrites every chapter of a book as mdBook hands it to a preprocessor.
    pub fn rewrite_all(&self, book: &mut Value) {
        match book {
            Value::Array(items) => items.iter_mut().for_each(|item| self.rewrite_all(item)),
            Value::Object(fields) => {
                let path = fields.get("path").and_then(Value::as_str);
                let path = path.map(|path| Path::new(FOLDER).join(path));
                if let (Some(path), Some(Value::String(content))) =
                    (path, fields.get_mut("content"))
                {
                    *content = self.rewrite(&path, content);
                }
                fields
                    .values_mut()
                    .for_each(|value| self.rewrite_all(value));
            }
            _ => {}
        }
    }
}

/// What a chapter that is nothing else includes.
fn included(content: &str) -> Option<&str> {
    let inner = content.trim().strip_prefix("{{#include")?;
    Some(inner.strip_suffix("}}")?.trim())
}

/// A path without `.` and `..`, as far as it can be said without looking.
pub fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// From the folder of `page` to `to`.
fn relative(page: &Path, to: &Path) -> String {
    let folder = page.with_file_name("");
    let from: Vec<_> = folder.components().collect();
    let to: Vec<_> = to.components().collect();
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".into(), from.len() - same);
    let down = to[same..].iter().map(|c| c.as_os_str().to_string_lossy());
    up.chain(down).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_chapters_wherever_their_text_lies() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("docs/house/read.md", "{{#include ../../README.md}}\n");
        write("docs/trp.md", "");
        let summary = "- [Read](house/read.md)\n    - [TRP](trp.md)\n";
        let chapters = Chapters::read(root.path(), summary).unwrap();
        assert_eq!(chapters.pages().count(), 2);

        let readme = "[t](docs/trp.md#a), [r](README.md), [code](runtime/src), [all](docs/methods), ![p](docs/p.svg), [w](https://x.org)";
        assert_eq!(
            chapters.rewrite(Path::new("docs/house/read.md"), readme),
            "[t](../trp.md#a), [r](read.md), code, all, ![p](../p.svg), [w](https://x.org)"
        );
        let mut book = serde_json::json!({"items": [{"Chapter": {"path": "trp.md", "content": "[up](../README.md)", "sub_items": []}}]});
        chapters.rewrite_all(&mut book);
        let content = &book["items"][0]["Chapter"]["content"];
        assert_eq!(content, "[up](house/read.md)");

        let twice = Chapters::read(root.path(), "[a](trp.md) [b](trp.md)").unwrap_err();
        assert!(twice.contains("docs/trp.md is in"), "{twice}");
        let lost = Chapters::read(root.path(), "[a](lost.md)").unwrap_err();
        assert!(lost.contains("docs/lost.md"), "{lost}");
    }
}
