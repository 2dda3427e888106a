//! Commands that our pages show with what they print: run for real, and compared.
//!
//! A fenced block of the kind `console` has lines that begin with `$ `, each followed by what the command prints. `...` stands for
//! any lines.

/// A command of a page, and what the page says that it prints.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Shown {
    /// Words of the command, the program first; without a comment behind it.
    pub command: Vec<String>,
    /// Lines.
    pub output: Vec<String>,
}

/// All commands of a page's console blocks, in order.
pub fn shown(page: &str) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            let command = command.split(" #").next().unwrap_or_default();
            commands.push(Shown {
                command: command.split_whitespace().map(str::to_owned).collect(),
                output: Vec::new(),
            });
        } else if let Some(last) = commands.last_mut().filter(|_| inside) {
            last.output.push(line.to_owned());
        }
    }
    commands
}

/// Compares what a page shows with what was printed. Frames of tables and spaces are nothing; numbers may differ by one in a hundred,
/// since another compiler moves a few bytes and instructions.
///
/// # Errors
///
/// The first line that is not there.
pub fn compare(shown: &[String], printed: &str) -> Result<(), String> {
    let printed: Vec<Vec<String>> = printed
        .lines()
        .map(words)
        .filter(|w| !w.is_empty())
        .collect();
    let mut rest = printed.as_slice();
    let mut anywhere = false;
    for line in shown {
        let wanted = words(line);
        if wanted == ["..."] {
            anywhere = true;
        }
        if wanted.is_empty() || wanted == ["..."] {
            continue;
        }
        let reach = if anywhere {
            rest.len()
        } else {
            rest.len().min(1)
        };
        let Some(at) = rest[..reach].iter().position(|line| alike(&wanted, line)) else {
            let next = rest.first().map(|line| line.join(" "));
            return Err(format!(
                "the page shows `{line}`, printed is `{}`",
                next.unwrap_or_default()
            ));
        };
        rest = &rest[at + 1..];
        anywhere = false;
    }
    match rest.first() {
        Some(line) if !anywhere => Err(format!("printed, too: `{}`", line.join(" "))),
        _ => Ok(()),
    }
}

fn words(line: &str) -> Vec<String> {
    let frame = |c: char| ('\u{2500}'..='\u{257f}').contains(&c);
    line.replace(frame, " ")
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn alike(wanted: &[String], line: &[String]) -> bool {
    let number = |word: &str| word.replace(',', "").parse::<f64>().ok();
    wanted.len() == line.len()
        && wanted
            .iter()
            .zip(line)
            .all(|(a, b)| match (number(a), number(b)) {
                (Some(a), Some(b)) => (a - b).abs() <= 0.01 * a.abs(),
                _ => a == b,
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn commands_and_outputs_are_told_apart() {
        let page =
            "```console\n$ kinglet demo   # all\nx\ny\n$ kinglet test\n```\n```sh\n$ no\n```\n";
        let found = shown(page);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].command, ["kinglet", "demo"]);
        assert_eq!(found[0].output, ["x", "y"]);
        assert!(found[1].output.is_empty());
    }

    #[test]
    fn what_differs_is_found() {
        let printed = "┌──┐\n│ flash ┆ 1,000 bytes │\n└──┘\nwrote x\n";
        assert_eq!(
            compare(
                &lines("| flash ┆  1,009 bytes |".replace('|', "│").as_str()),
                "│ flash ┆ 1,000 bytes │"
            ),
            Ok(())
        );
        assert_eq!(compare(&lines("...\nwrote x"), printed), Ok(()));
        assert_eq!(compare(&lines("flash 1,000 bytes\n..."), printed), Ok(()));
        assert!(compare(&lines("flash 1,020 bytes\n..."), printed).is_err());
        assert!(
            compare(&lines("flash 1,000 bytes"), printed).is_err(),
            "a line more"
        );
        assert!(compare(&lines("wrote x"), printed).is_err(), "a line less");
        assert!(compare(&lines("...\nwrote y"), printed).is_err());
    }
}
