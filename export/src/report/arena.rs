//! The arena over time: steps from left to right, addresses from the bottom to the top, a rectangle a tensor.

use super::html::{Report, escape};
use super::{grouped, readable};
use crate::compile::Lifetime;
use std::collections::HashMap;
use std::fmt::Write as _;

const COLORS: [&str; 6] = ["blue", "teal", "violet", "amber", "rose", "green"];

impl Report {
    /// Adds the map of an arena of so many bytes over so many steps, of which `peak` is the busiest.
    pub fn arena(&mut self, lifetimes: &[Lifetime], arena_len: usize, steps: usize, peak: usize) {
        self.drawn(&draw(lifetimes, arena_len, steps, peak));
    }
}

fn draw(lifetimes: &[Lifetime], arena_len: usize, steps: usize, peak: usize) -> String {
    let (bytes, steps) = (arena_len.max(1) as f64, steps.max(1) as f64);
    let mut colors: HashMap<&str, &str> = HashMap::new();
    let mut map = format!(
        "<i class=\"peak\" style=\"left:{:.3}%;width:{:.3}%\" title=\"most bytes are in use at step {peak}\"></i>\n",
        100.0 * peak as f64 / steps,
        100.0 / steps
    );
    for life in lifetimes {
        let next = COLORS[colors.len() % COLORS.len()];
        let color = match life.working {
            true => "grey",
            false => colors.entry(&life.tensor).or_insert(next),
        };
        let what = if life.working {
            format!("working memory of {}", life.tensor)
        } else {
            life.tensor.clone()
        };
        let title = format!(
            "{what}: {} bytes from {}, steps {} to {}",
            grouped(life.len as u64),
            grouped(life.offset as u64),
            life.first,
            life.last
        );
        // A name in a rectangle that is too small for it would be noise.
        let tall = life.len as f64 / bytes > 0.045;
        let wide = (life.last + 1 - life.first) as f64 / steps > 0.05;
        let name = match (tall && wide, life.working) {
            (true, false) => escape(readable(&life.tensor)),
            _ => String::new(),
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            map,
            "<span class=\"life\" style=\"left:{:.3}%;width:{:.3}%;bottom:{:.3}%;height:{:.3}%;background:var(--{color})\" title=\"{}\">{name}</span>",
            100.0 * life.first as f64 / steps,
            100.0 * (life.last + 1 - life.first) as f64 / steps,
            100.0 * life.offset as f64 / bytes,
            100.0 * life.len as f64 / bytes,
            escape(&title)
        );
    }
    format!(
        "<div class=\"arena\" role=\"img\" aria-label=\"Which tensors are where in the arena, step by step\">\n\
         <div class=\"y\"><span>{}</span><span>{}</span><span>0</span></div>\n<div class=\"map\">\n{map}</div>\n\
         <div class=\"x\"><span>step 0</span><span>bytes over steps</span><span>step {}</span></div>\n</div>",
        grouped(arena_len as u64),
        grouped(arena_len as u64 / 2),
        steps as usize - 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_has_its_share_of_time_and_memory() {
        let life = |tensor: &str, working, offset, len, first, last| Lifetime {
            tensor: tensor.into(),
            working,
            offset,
            len,
            first,
            last,
        };
        let lifetimes = [
            life("<in>", false, 0, 600, 0, 0),
            life("conv", true, 600, 200, 1, 1),
            life("out", false, 800, 200, 1, 3),
        ];
        let html = draw(&lifetimes, 1000, 4, 1);
        assert_eq!(html.matches("class=\"life\"").count(), 3);
        let place = "left:25.000%;width:75.000%;bottom:80.000%;height:20.000%";
        assert!(html.contains(place), "{html}");
        assert!(html.contains("working memory of conv: 200 bytes from 600, steps 1 to 1"));
        assert!(html.contains("&lt;in&gt;") && !html.contains("<in>"));
        assert!(html.contains("class=\"peak\" style=\"left:25.000%"));
    }
}
