//! Pages of the repository: all in the book, links that lead somewhere, pictures that show the tables.

use kinglet_tests::book::links::{Link, anchors, links};
use kinglet_tests::book::{self, Chapters, FOLDER, normal};
use kinglet_tests::{pictures, root};
use std::path::{Path, PathBuf};

fn pages() -> Vec<PathBuf> {
    let pages = book::pages();
    assert!(pages.len() > 30, "{pages:?}");
    pages
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|e| panic!("{}: {e}", page.display()))
}

#[test]
fn every_page_is_a_chapter() {
    let summary = Path::new(FOLDER).join("SUMMARY.md");
    let chapters = Chapters::read(&root(), &read(&summary)).unwrap();
    let wrapper = |page: &Path| page.starts_with("docs/house") || page == summary;
    let lost: Vec<PathBuf> = pages()
        .into_iter()
        .filter(|page| page.starts_with(FOLDER) && !wrapper(page))
        .filter(|page| !chapters.pages().any(|chapter| chapter == page))
        .collect();
    assert!(lost.is_empty(), "not in docs/SUMMARY.md: {lost:?}");
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut count = 0;
    let mut broken = Vec::new();
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            let target = &text[link.target.clone()];
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            if !path.is_empty() && Link::leads_elsewhere(target) {
                continue;
            }
            let file = match path {
                "" => page.clone(),
                path => normal(&page.with_file_name("").join(path)),
            };
            let there = root().join(&file).exists();
            if !there || !anchor.is_empty() && !anchors(&read(&file)).iter().any(|a| a == anchor) {
                broken.push(format!("{}: {target}", page.display()));
            }
            count += 1;
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(count > 100, "{count} links");
}

/// `KINGLET_UPDATE_PICTURES=1` writes them.
#[test]
fn pictures_show_what_the_tables_say() {
    for picture in pictures::all().unwrap() {
        let path = root().join(FOLDER).join("pictures").join(picture.name);
        if std::env::var_os("KINGLET_UPDATE_PICTURES").is_some() {
            std::fs::write(&path, &picture.svg).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == picture.svg,
            "docs/pictures/{} is not what the tables say: run with KINGLET_UPDATE_PICTURES=1",
            picture.name
        );
    }
}

#[test]
fn the_plan_s_page_has_the_sizes_of_the_records() {
    use kinglet::format::{Header, IoRecord};
    let page = read(Path::new("docs/plan.md"));
    let header = format!("header, {} bytes", size_of::<Header>());
    let io = format!("io records, {} bytes each", size_of::<IoRecord>());
    assert!(
        page.contains(&header) && page.contains(&io),
        "{header}, {io}"
    );
    let last = std::mem::offset_of!(Header, self_test_digest);
    assert!(page.contains(&format!("| {last} | 4 | CRC-32 of all outputs")));
}
