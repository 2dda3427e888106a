//! Links and headings of Markdown text, as far as our pages use them.

use std::ops::Range;

/// An inline link or picture, `[text](target)`.
#[derive(Clone, PartialEq, Debug)]
pub struct Link {
    /// All of it, in bytes of the page; with the `!` of a picture.
    pub whole: Range<usize>,
    /// What is between the brackets.
    pub text: Range<usize>,
    /// What is between the parentheses.
    pub target: Range<usize>,
}

impl Link {
    /// Whether the target is no file: an address, or a heading of the same page.
    pub fn leads_elsewhere(target: &str) -> bool {
        target.contains("://") || target.starts_with("mailto:") || target.starts_with('#')
    }
}

/// The links of a page, in order; none from code.
pub fn links(page: &str) -> Vec<Link> {
    let prose = without_code(page);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(middle) = prose[from..].find("](").map(|at| from + at) {
        from = middle + 2;
        let Some(end) = prose[from..].find(')').map(|at| from + at) else {
            break;
        };
        let Some(start) = opening(&prose[..middle]) else {
            continue;
        };
        let picture = prose[..start].ends_with('!');
        found.push(Link {
            whole: start - usize::from(picture)..end + 1,
            text: start + 1..middle,
            target: from..end,
        });
    }
    found
}

/// Where the bracket is that a link's text begins with; brackets within the text come in pairs.
fn opening(before: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in before.bytes().enumerate().rev() {
        match byte {
            b']' => depth += 1,
            b'[' if depth == 0 => return Some(at),
            b'[' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Anchors of a page's headings: lower case, spaces as hyphens, other signs gone.
pub fn anchors(page: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut fenced = false;
    for line in page.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let sign = |c: char| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        };
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(sign)
            .collect();
        let twins = anchors.iter().filter(|a| **a == anchor).count();
        anchors.push(match twins {
            0 => anchor,
            n => format!("{anchor}-{n}"),
        });
    }
    anchors
}

/// The page with spaces in the place of fenced blocks, indented blocks and code in lines, of the same length.
fn without_code(page: &str) -> String {
    let blank = |text: &str| -> String {
        let of = |c: char| {
            if c == '\n' {
                "\n".into()
            } else {
                " ".repeat(c.len_utf8())
            }
        };
        text.chars().map(of).collect()
    };
    let mut prose = String::with_capacity(page.len());
    let mut fenced = false;
    for line in page.split_inclusive('\n') {
        let fence = line.trim_start().starts_with("```");
        if fenced || fence || line.starts_with("    ") {
            prose.push_str(&blank(line));
        } else {
            for (i, part) in line.split('`').enumerate() {
                if i > 0 {
                    prose.push('`');
                }
                // Between an odd and an even backtick is code.
                prose.push_str(&if i % 2 == 1 {
                    blank(part)
                } else {
                    part.to_owned()
                });
            }
        }
        fenced ^= fence;
    }
    prose
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_where_a_reader_sees_them() {
        let page = "See [a](x.md), ![p](p.svg) and [`code[0]`](../y.md#part).\n\n    [no](no.md)\n\n```\n[no](no.md)\n```\n`[no](no.md)`\n";
        let targets: Vec<&str> = links(page)
            .iter()
            .map(|l| &page[l.target.clone()])
            .collect();
        assert_eq!(targets, ["x.md", "p.svg", "../y.md#part"]);
        let whole: Vec<&str> = links(page).iter().map(|l| &page[l.whole.clone()]).collect();
        assert_eq!(whole[1], "![p](p.svg)");
        assert_eq!(whole[2], "[`code[0]`](../y.md#part)");
    }

    #[test]
    fn anchors_are_those_of_the_renderers() {
        let page = "# Two words: `code`, 8-bit\n## Part\n```\n# no\n```\n## Part\n#no\n";
        assert_eq!(anchors(page), ["two-words-code-8-bit", "part", "part-1"]);
    }
}
