//! Figures as tables and as JSON.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Map, Value, json};

/// A limit that a figure must keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Promise {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// A figure: the median of several measurements of the same, or a single one.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Dotted name, such as `replay.w1.seconds`; the last part names its unit where it has one.
    name: String,
    unit: &'static str,
    measured: Vec<f64>,
    ratio: Option<(f64, String)>,
    promise: Option<Promise>,
}

impl Figure {
    /// A figure measured so often, at least once; the median counts.
    ///
    /// # Panics
    /// Without a measurement.
    pub fn new(name: impl Into<String>, unit: &'static str, mut measured: Vec<f64>) -> Self {
        assert!(!measured.is_empty(), "a figure that was not measured");
        measured.sort_unstable_by(f64::total_cmp);
        Self { name: name.into(), unit, measured, ratio: None, promise: None }
    }

    /// Times in seconds.
    pub fn seconds(name: impl Into<String>, times: &[Duration]) -> Self {
        Self::new(name, "s", times.iter().map(Duration::as_secs_f64).collect())
    }

    /// Times in milliseconds.
    pub fn ms(name: impl Into<String>, times: &[Duration]) -> Self {
        Self::new(name, "ms", times.iter().map(|time| time.as_secs_f64() * 1e3).collect())
    }

    /// Compares it with something that was measured in the same run.
    pub fn against(mut self, other: &Self) -> Self {
        self.ratio = Some((self.median() / other.median(), other.name.clone()));
        self
    }

    /// Each of its measurements in parts of the other's median, as a figure of its own.
    pub fn in_parts_of(&self, other: &Self, name: impl Into<String>, unit: &'static str) -> Self {
        Self::new(name, unit, self.measured.iter().map(|measured| measured / other.median()).collect())
    }

    /// Says what it must keep to.
    pub fn promise(mut self, promise: Promise) -> Self {
        self.promise = Some(promise);
        self
    }

    /// The middle measurement, the larger of two.
    pub fn median(&self) -> f64 {
        self.measured[self.measured.len() / 2]
    }

    /// Whether it keeps its promise, if it has one.
    pub fn is_kept(&self) -> bool {
        match self.promise {
            None => true,
            Some(Promise::AtMost(limit)) => self.median() <= limit,
            Some(Promise::AtLeast(limit)) => self.median() >= limit,
        }
    }

    /// Dotted name, such as `replay.w1.seconds`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part of the bench that measures it: the beginning of its name.
    pub(crate) fn part(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// How much of its promise it takes: the best measurement, the median, the worst. Up to 1 it keeps it.
    pub fn share(&self) -> Option<(f64, f64, f64)> {
        // Nothing of nothing is nothing.
        let share = |part: f64, whole: f64| if part == 0.0 { 0.0 } else { part / whole };
        let (min, max) = self.range();
        match self.promise? {
            Promise::AtMost(limit) => Some((share(min, limit), share(self.median(), limit), share(max, limit))),
            Promise::AtLeast(limit) => Some((share(limit, max), share(limit, self.median()), share(limit, min))),
        }
    }

    /// The figure beside its promise, such as `1.87 s, at most 2.00`.
    pub fn words(&self) -> String {
        let median = format!("{} {}", significant(self.median()), self.unit);
        match self.promise {
            None => median,
            Some(Promise::AtMost(limit)) => format!("{}, at most {}", median.trim_end(), significant(limit)),
            Some(Promise::AtLeast(limit)) => format!("{}, at least {}", median.trim_end(), significant(limit)),
        }
    }

    fn range(&self) -> (f64, f64) {
        (self.measured[0], self.measured[self.measured.len() - 1])
    }

    pub(crate) fn cells(&self) -> [String; 6] {
        let (min, max) = self.range();
        let range = if self.measured.len() > 1 {
            format!("{} to {}", significant(min), significant(max))
        } else {
            String::new()
        };
        let ratio = self.ratio.as_ref().map(|(ratio, to)| format!("{} × {to}", significant(*ratio)));
        let promise = self.promise.map(|promise| {
            let kept = if self.is_kept() { "kept" } else { "NOT KEPT" };
            match promise {
                Promise::AtMost(limit) => format!("≤ {} {kept}", significant(limit)),
                Promise::AtLeast(limit) => format!("≥ {} {kept}", significant(limit)),
            }
        });
        let [ratio, promise] = [ratio, promise].map(Option::unwrap_or_default);
        [self.name.clone(), significant(self.median()), self.unit.to_owned(), range, ratio, promise]
    }

    fn json(&self) -> Value {
        let (min, max) = self.range();
        let mut value = json!({
            "name": self.name,
            "unit": self.unit,
            "median": self.median(),
            "min": min,
            "max": max,
            "runs": self.measured.len(),
        });
        if let Some((ratio, to)) = &self.ratio {
            value["ratio"] = json!(ratio);
            value["ratio_to"] = json!(to);
        }
        match self.promise {
            Some(Promise::AtMost(limit)) => value["at_most"] = json!(limit),
            Some(Promise::AtLeast(limit)) => value["at_least"] = json!(limit),
            None => {}
        }
        if self.promise.is_some() {
            value["kept"] = json!(self.is_kept());
        }
        value
    }
}

/// Compares figures that different parts have measured, by their names: each with the one behind it, where both are there.
///
/// # Panics
/// When they have different units.
pub fn compare(figures: &mut [Figure], pairs: &[(&str, &str)]) {
    let place_of = |name: &str, figures: &[Figure]| figures.iter().position(|figure| figure.name == name);
    for (name, other) in pairs {
        let Some((place, other)) = place_of(name, figures).zip(place_of(other, figures)) else { continue };
        assert_eq!(figures[place].unit, figures[other].unit, "{name}");
        figures[place] = figures[place].clone().against(&figures[other]);
    }
}

/// Whether every promise is kept.
pub fn is_good(figures: &[Figure]) -> bool {
    figures.iter().all(Figure::is_kept)
}

/// The table for a terminal.
pub fn table(figures: &[Figure]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["figure", "median", "", "range", "ratio", "promise"]);
    for figure in figures {
        let [name, median, unit, range, ratio, promise] = figure.cells();
        let median = Cell::new(median).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(name),
            median,
            Cell::new(unit),
            Cell::new(range),
            Cell::new(ratio),
            Cell::new(promise),
        ]);
    }
    table.to_string()
}

/// For machines: each median at the place that its name says, and under `figures` all that is known of each.
///
/// # Panics
/// When one name is the beginning of another.
pub fn json(figures: &[Figure]) -> Value {
    let mut all = Value::Object(Map::new());
    for figure in figures {
        let place = figure.name.split('.').fold(&mut all, |object, part| &mut object[part]);
        *place = json!(figure.median());
    }
    all["figures"] = figures.iter().map(Figure::json).collect();
    all
}

/// Three significant digits, and all digits of whole thousands.
fn significant(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let decimals = (2 - digits).clamp(0, 6) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_finds_each_median_at_its_name() {
        let raw = Figure::new("raw.seconds", "s", vec![0.5]);
        let one = Figure::new("replay.w1.seconds", "s", vec![3.0, 1.0, 2.0]).against(&raw);
        let figures = [raw, one.promise(Promise::AtMost(1.5))];
        let found = json(&figures);
        assert_eq!(found["replay"]["w1"]["seconds"], 2.0);
        assert_eq!(found["raw"]["seconds"], 0.5);
        let detail = &found["figures"][1];
        assert_eq!((&detail["min"], &detail["max"], &detail["ratio"]), (&json!(1.0), &json!(3.0), &json!(4.0)));
        assert_eq!(detail["kept"], false);
        assert!(!is_good(&figures) && is_good(&figures[..1]));
    }

    #[test]
    fn figures_of_different_parts_are_compared_where_both_are_there() {
        let figure = |name: &str, value| Figure::new(name, "s", vec![value]);
        let mut figures = [figure("a.s", 1.0), figure("b.s", 4.0), figure("c.s", 5.0)];
        compare(&mut figures, &[("b.s", "a.s"), ("c.s", "missing.s"), ("missing.s", "a.s")]);
        let ratios = figures.each_ref().map(|figure| figure.ratio.clone());
        assert_eq!(ratios, [None, Some((4.0, "a.s".to_owned())), None]);
        let parts = Figure::new("d.s", "s", vec![3.0, 1.0, 2.0]).in_parts_of(&figures[1], "d.ratio", "");
        assert_eq!((parts.median(), parts.range()), (0.5, (0.25, 0.75)));
    }

    #[test]
    fn where_nothing_is_allowed_nothing_is_no_share_of_it() {
        let messages = |count| Figure::new("idle.messages", "", vec![count]).promise(Promise::AtMost(0.0));
        assert_eq!(messages(0.0).share(), Some((0.0, 0.0, 0.0)));
        assert_eq!(messages(1.0).share(), Some((f64::INFINITY, f64::INFINITY, f64::INFINITY)));
    }

    #[test]
    fn numbers_are_as_long_as_they_are_meant() {
        let found = [1.23456, 12.3456, 0.00123456, 1_234_567.8, 0.0].map(significant);
        assert_eq!(found, ["1.23", "12.3", "0.00123", "1234568", "0.00"]);
    }
}
