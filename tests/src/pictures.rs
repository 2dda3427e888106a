//! Pictures of the README and the book, drawn from the tables that stand beside them, so that the two cannot differ.

use crate::book::FOLDER;
use crate::performance::{Rivals, Table, folder};
use crate::root;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Colours of series, and of what they are compared with.
const OURS: RGBColor = RGBColor(0x3b, 0x82, 0xd6);
const OTHER: RGBColor = RGBColor(0xd9, 0x77, 0x06);
const TRACK: RGBColor = RGBColor(0xdd, 0xdf, 0xe3);
const INK: RGBColor = RGBColor(0x22, 0x26, 0x2b);

type Failure = Box<dyn std::error::Error>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// A picture: its file in `docs/pictures`, and its SVG text.
#[derive(Clone, PartialEq, Debug)]
pub struct Picture {
    /// Name of the file.
    pub name: &'static str,
    /// The file's contents.
    pub svg: String,
}

/// All pictures, from the tables as they are now.
///
/// # Errors
///
/// A table that is not where it is expected.
pub fn all() -> Result<Vec<Picture>, Failure> {
    let reproduction = std::fs::read_to_string(root().join(FOLDER).join("reproduction.md"))?;
    let accuracy = |name, heading| -> Result<Picture, Failure> {
        let rows = column(&reproduction, heading, "accuracy")?;
        let svg = bars(&rows, "accuracy on CIFAR-10's test images, %")?;
        Ok(Picture { name, svg })
    };
    Ok(vec![
        Picture {
            name: "rival.svg",
            svg: rival()?,
        },
        accuracy("rf8.svg", "## RF8")?,
        accuracy("trp.svg", "## TRP")?,
        accuracy("mask_sparsity.svg", "## MaskSparsity")?,
        accuracy("gating.svg", "## Consensus gating")?,
        Picture {
            name: "gaussian.svg",
            svg: rates(&reproduction)?,
        },
    ])
}

/// Ours as a share of the rival's, which is the whole of each track: instructions, arena, code.
fn rival() -> Result<String, Failure> {
    let rivals: Rivals =
        serde_json::from_str(&std::fs::read_to_string(folder().join("rivals.json"))?)?;
    let cores = [
        ("mps2-an386", "Cortex-M4F"),
        ("mps3-an547", "Cortex-M55"),
        ("mps2-an385", "Cortex-M3"),
    ];
    let models = [
        ("kws_dscnn", "keywords"),
        ("resnet8_cifar10", "images"),
        ("vww_mobilenet_v1_025", "person"),
        ("ad_autoencoder", "anomaly"),
    ];
    let columns = ["instructions", "RAM: arena", "flash: code"];
    let (left, width, gap, line, top) = (190, 180, 24, 22, 64);
    let height = top + (line * 4 + 16) * 3 + 8;
    draw((left + (width + gap) * 3 + 20, height), |area| {
        let (big, small) = (font(17), font(14));
        area.draw(&Text::new(
            "Kinglet beside TensorFlow Lite Micro with CMSIS-NN (grey: all of it)",
            (12, 10),
            big.clone(),
        ))?;
        for (i, column) in columns.iter().enumerate() {
            area.draw(&Text::new(
                *column,
                (left + (width + gap) * i as i32, 40),
                big.clone(),
            ))?;
        }
        for (c, (board, core)) in cores.iter().enumerate() {
            let table: Table = serde_json::from_str(&std::fs::read_to_string(
                folder().join(format!("{board}.json")),
            )?)?;
            for (m, (model, said)) in models.iter().enumerate() {
                let ours = table.rows.iter().find(|r| r.model == *model);
                let theirs = rivals
                    .rows
                    .iter()
                    .find(|r| r.model == *model && r.board == *board);
                let (Some(ours), Some(theirs)) = (ours, theirs) else {
                    return Err(format!("no figures of {model} on {board}").into());
                };
                let y = top + (line * 4 + 16) * c as i32 + line * m as i32;
                if m == 0 {
                    area.draw(&Text::new(*core, (12, y), big.clone()))?;
                }
                area.draw(&Text::new(*said, (110, y + 1), small.clone()))?;
                let pairs = [
                    (ours.instructions, theirs.instructions),
                    (ours.arena, theirs.arena),
                    (ours.code, theirs.code),
                ];
                for (i, (ours, theirs)) in pairs.into_iter().enumerate() {
                    let share = ours as f64 / theirs as f64;
                    let x = left + (width + gap) * i as i32;
                    let bar = |share: f64| {
                        [
                            (x, y),
                            (x + (f64::from(width) * share) as i32, y + line - 6),
                        ]
                    };
                    area.draw(&Rectangle::new(bar(1.0), TRACK.filled()))?;
                    area.draw(&Rectangle::new(bar(share.min(1.0)), OURS.filled()))?;
                    let end = Pos::new(HPos::Right, VPos::Top);
                    area.draw(&Text::new(
                        format!("{share:.2}"),
                        (x + width - 6, y + 1),
                        small.clone().pos(end),
                    ))?;
                }
            }
        }
        Ok(())
    })
}

/// Horizontal bars from 0 to 100.
fn bars(rows: &[(String, f64)], title: &str) -> Result<String, Failure> {
    let (left, width, line, top) = (360, 300, 26, 40);
    draw(
        (left + width + 80, top + line * rows.len() as i32 + 10),
        |area| {
            area.draw(&Text::new(title, (left, 12), font(15)))?;
            for (i, (name, value)) in rows.iter().enumerate() {
                let y = top + line * i as i32;
                let end = Pos::new(HPos::Right, VPos::Top);
                area.draw(&Text::new(
                    name.as_str(),
                    (left - 10, y + 2),
                    font(15).pos(end),
                ))?;
                let bar = |share: f64| {
                    [
                        (left, y),
                        (left + (f64::from(width) * share) as i32, y + line - 8),
                    ]
                };
                area.draw(&Rectangle::new(bar(1.0), TRACK.filled()))?;
                area.draw(&Rectangle::new(bar(value / 100.0), OURS.filled()))?;
                area.draw(&Text::new(
                    format!("{value:.2}"),
                    (left + width + 8, y + 2),
                    font(15),
                ))?;
            }
            Ok(())
        },
    )
}

/// Accuracy over coded bytes, with and without the rate term.
fn rates(reproduction: &str) -> Result<String, Failure> {
    let series: Vec<Vec<(f64, f64)>> = ["its codes, steps of", "its codes, the same steps"]
        .iter()
        .map(|row| {
            let line = reproduction.lines().find(|line| line.contains(row));
            let cells: Vec<&str> = line.ok_or(format!("no row `{row}`"))?.split('|').collect();
            let numbers = |cell: &str| -> Vec<f64> {
                let parts = cell.split(", ").map(|p| p.replace([',', '%', ' '], ""));
                parts.filter_map(|p| p.parse().ok()).collect()
            };
            let [_, _, accuracy, bytes, ..] = cells[..] else {
                return Err(format!("the row `{row}` has too few cells"));
            };
            Ok(numbers(bytes).into_iter().zip(numbers(accuracy)).collect())
        })
        .collect::<Result<_, String>>()?;
    draw((720, 330), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(25_000.0..48_000.0, 74.0..88.0)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(TRACK)
            .label_style(font(14))
            .x_label_formatter(&|v| kinglet_export::report::grouped(*v as u64))
            .x_desc("bytes of coded weights")
            .y_desc("accuracy, %")
            .draw()?;
        for (points, (color, name)) in series
            .iter()
            .zip([(OTHER, "plain training"), (OURS, "BackSlash")])
        {
            chart.draw_series(LineSeries::new(
                points.iter().copied(),
                color.stroke_width(2),
            ))?;
            let marks = points.iter().map(|p| Circle::new(*p, 4, color.filled()));
            chart.draw_series(marks)?;
            let (x, y) = points.last().copied().unwrap_or_default();
            chart.draw_series([Text::new(
                name,
                (x + 300.0, y - 0.3),
                font(15).color(&color),
            )])?;
        }
        Ok(())
    })
}

/// Names and numbers of the first table behind `heading` that has a column called `wanted`.
fn column(page: &str, heading: &str, wanted: &str) -> Result<Vec<(String, f64)>, Failure> {
    let cells = |line: &str| -> Vec<String> {
        line.trim()
            .trim_matches('|')
            .split('|')
            .map(|c| c.trim().to_owned())
            .collect()
    };
    let mut lines = page.lines().skip_while(|line| *line != heading).skip(1);
    let mut lines = lines.by_ref().take_while(|line| !line.starts_with("## "));
    let missing = || format!("no table with `{wanted}` behind `{heading}`");
    let index = lines
        .find_map(|line| cells(line).iter().position(|c| c == wanted))
        .ok_or_else(missing)?;
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let rows = rows.map(|line| {
        let cells = cells(line);
        let number = cells.get(index).map(|c| c.trim_end_matches([' ', '%']));
        let number = number.and_then(|n| n.parse().ok()).ok_or_else(missing)?;
        Ok((cells[0].clone(), number))
    });
    rows.collect::<Result<_, String>>().map_err(Into::into)
}

fn font<'a>(size: i32) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(&INK)
}

/// On white, since a picture file does not know the page's colours.
fn draw(
    (width, height): (i32, i32),
    paint: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut svg = String::new();
    {
        let area =
            SVGBackend::with_string(&mut svg, (width as u32, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        paint(&area)?;
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_from_the_table_behind_a_heading() {
        let page = "## A\n| x |\n|---|\n| 9 |\n\n| arm | accuracy | lost |\n|---|---:|---|\n| one | 86.5 % | 1 |\n| two, three | 7.00 % | |\n\n## B\n";
        let rows = column(page, "## A", "accuracy").unwrap();
        assert_eq!(
            rows,
            [("one".to_owned(), 86.5), ("two, three".to_owned(), 7.0)]
        );
        assert!(column(page, "## B", "accuracy").is_err());
    }
}
