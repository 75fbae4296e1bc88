//! `bench.png`: every figure with a promise, as a share of it.

use std::path::Path;

use anyhow::Context;
use reporter::plot::{Bar, bars};

use super::report::Figure;

/// Draws the figures that have a promise.
///
/// # Errors
/// The file cannot be written.
pub fn draw(figures: &[Figure], note: &str, path: &Path) -> anyhow::Result<()> {
    let promised: Vec<Bar> = figures.iter().filter_map(bar).collect();
    let image = bars("What candlewire takes, of what it may", note, &promised);
    let png = image.to_png().context("cannot encode the picture")?;
    std::fs::write(path, png).with_context(|| format!("cannot write {}", path.display()))
}

fn bar(figure: &Figure) -> Option<Bar> {
    let share = figure.share()?;
    Some(Bar { name: figure.name().to_owned(), share, words: figure.words() })
}
