//! Results for people: tables in the terminal, and reports as one HTML file that needs nothing else.

mod arena;
mod chart;
mod classes;
mod density;
mod html;
mod network;

pub use chart::Scatter;
pub use density::Density;
pub use html::Report;
pub(crate) use html::escape;
pub use network::{LayerCosts, operator};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A table for the terminal, no wider than it; columns of numbers are aligned to the right.
pub fn terminal_table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headers);
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        if is_numeric(rows, index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// `1234567` as `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// The part of an exporter's name that says which layer it is: the last of what was fused into it, and the last two parts of
/// its path.
pub fn readable(name: &str) -> &str {
    let last = name.rsplit(';').next().unwrap_or(name);
    let cut = last.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    match &last[cut..] {
        "" => name,
        short => short,
    }
}

/// Whether every cell of a column starts as a number does, or is the `-` of a missing one.
fn is_numeric(rows: &[Vec<String>], column: usize) -> bool {
    let number = |cell: &String| {
        let text = cell.trim();
        text == "-"
            || text
                .trim_start_matches(['-', '+', '±'])
                .starts_with(|c: char| c.is_ascii_digit())
    };
    !rows.is_empty() && rows.iter().all(|row| row.get(column).is_some_and(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_to_the_right_and_words_to_the_left() {
        let rows = [
            vec!["conv".into(), "7".into()],
            vec!["fc".into(), "1,234".into()],
        ];
        let table = terminal_table(&["step", "MACs"], &rows);
        assert!(table.contains("│ conv ┆     7 │"), "{table}");
        assert!(table.contains("│ fc   ┆ 1,234 │"), "{table}");
    }

    #[test]
    fn readable_names_are_the_last_layers() {
        for (name, short) in [
            ("model/a/Relu;model/add/add_prequant", "add/add_prequant"),
            ("/layer1/layer1.0/conv1/Conv", "conv1/Conv"),
            ("conv", "conv"),
            ("odd;", "odd;"),
        ] {
            assert_eq!(readable(name), short);
        }
    }

    #[test]
    fn a_missing_number_does_not_make_a_column_words() {
        let column = |cells: &[&str]| {
            is_numeric(
                &cells.iter().map(|&c| vec![c.into()]).collect::<Vec<_>>(),
                0,
            )
        };
        assert!(column(&["-", "-3.5", "12 %"]));
        assert!(!column(&["12", "same bytes"]));
        assert!(!column(&[]));
    }
}
