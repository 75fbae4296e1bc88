//! `docs/benchmarks.md`: a section for each part of the bench, replaced when the part is measured again.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;

use super::machine::Machine;
use super::report::Figure;

/// The page without figures. A line `<!-- replay raw -->` ends a section: figures of these parts belong there.
const TEMPLATE: &str = include_str!("page.md");

/// Writes the sections of the parts that were measured into the page; those of other parts stay.
///
/// # Errors
/// The page cannot be read or written.
pub fn write(figures: &[Figure], machine: &Machine, path: &Path) -> anyhow::Result<()> {
    let old = if path.exists() {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    } else {
        String::new()
    };
    let page = page(&old, figures, &machine.to_string());
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn page(old: &str, figures: &[Figure], machine: &str) -> String {
    let sections = TEMPLATE.split("\n## ").filter_map(|section| {
        let Some((text, parts)) = section.split_once("<!-- ") else { return Some(section.to_owned()) };
        let parts: Vec<_> = parts.split(' ').collect();
        let measured: Vec<_> = figures.iter().filter(|figure| parts.contains(&figure.part())).collect();
        if measured.is_empty() {
            return section_of(old, section.lines().next()?).map(str::to_owned);
        }
        Some(format!("{text}Measured on {machine}.\n\n{}", table(&measured)))
    });
    sections.collect::<Vec<_>>().join("\n## ")
}

/// The section of a page that has this heading, without its `## `.
fn section_of<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    page.split("\n## ").find(|section| section.lines().next() == Some(heading))
}

fn table(figures: &[&Figure]) -> String {
    let mut text = "| figure | median | range | ratio | promise |\n|---|---|---|---|---|\n".to_owned();
    for figure in figures {
        let [name, median, unit, range, ratio, promise] = figure.cells();
        let median = format!("{median} {unit}");
        writeln!(text, "| `{name}` | {} | {range} | {ratio} | {promise} |", median.trim_end()).expect("text takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_measured_again_replaces_its_section_alone() {
        let figure = |name: &str, value| Figure::new(name, "s", vec![value]);
        let both = page("", &[figure("replay.w1.seconds", 1.0), figure("audit.seconds", 2.0)], "one machine");
        assert!(both.contains("| `replay.w1.seconds` | 1.00 s |") && both.contains("Measured on one machine."));
        let again = page(&both, &[figure("audit.seconds", 3.0)], "another machine");
        assert!(again.contains("| `replay.w1.seconds` | 1.00 s |"), "{again}");
        assert!(again.contains("| `audit.seconds` | 3.00 s |") && !again.contains("2.00 s"), "{again}");
        assert_eq!(page(&again, &[], "a third machine"), again);
        // The promises, two measured parts, and the first build.
        assert_eq!(again.matches("## ").count(), 4);
    }
}
