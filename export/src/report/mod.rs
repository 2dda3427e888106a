//! Results for people: tables in the terminal, and reports as one HTML file that needs nothing else.

mod chart;
mod html;

pub use html::Report;

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
