//! Windows of each program, to check that all did the same work.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use bus::Connection;
use bus::newest;
use market::Window;

/// The compared windows, by the names that the programs use.
const WINDOWS: [(&str, Window); 3] =
    [("hourly", Window::Hour), ("daily", Window::Day), ("moving-average", Window::HourEveryHalf)];
/// Most windows of one kind that only one side has: those at the end that its watermark has not closed, and the one
/// before the first tick, which Polars leaves out.
const ALONE_MAX: usize = 3;
/// Relative difference: sums in another order round differently.
const DEVIATION_MAX: f64 = 1e-9;

/// Average, low and high, by window name and start in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Windows(BTreeMap<String, BTreeMap<i64, [f64; 3]>>);

impl Windows {
    /// The windows that our pipeline has stored.
    pub(super) async fn ours(admin: &Connection) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for (name, window) in WINDOWS {
            let candles = newest::candles(admin, window, None).await?;
            let rows = candles.iter().map(|one| (one.start.ms(), [one.average, one.low, one.high]));
            all.0.insert(name.to_owned(), rows.collect());
        }
        Ok(all)
    }

    /// The windows that another program wrote into its folder.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("windows.csv");
        let mut rows = csv::Reader::from_path(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut all = Self::default();
        for row in rows.deserialize() {
            let (name, start_ms, average, low, high): (String, i64, f64, f64, f64) = row?;
            let is_first = all.0.entry(name).or_default().insert(start_ms, [average, low, high]).is_none();
            ensure!(is_first, "the window from {start_ms} on is there twice");
        }
        std::fs::remove_file(path)?;
        Ok(all)
    }

    /// Checks that the other program did the same work.
    pub(super) fn compare(&self, others: &Self) -> anyhow::Result<()> {
        for (name, _) in WINDOWS {
            let (ours, theirs) = (&self.0[name], others.0.get(name).with_context(|| format!("{name} is missing"))?);
            let common: Vec<i64> = ours.keys().filter(|start| theirs.contains_key(start)).copied().collect();
            let alone = [ours.len(), theirs.len()].map(|count| count - common.len());
            ensure!(
                alone.iter().all(|count| *count <= ALONE_MAX),
                "{name}: {} windows, of which we do not have {}, and {} of ours are missing",
                theirs.len(),
                alone[1],
                alone[0]
            );
            for start in common {
                let same = |(ours, theirs): (&f64, &f64)| (ours / theirs - 1.0).abs() <= DEVIATION_MAX;
                ensure!(
                    ours[&start].iter().zip(&theirs[&start]).all(same),
                    "{name} from {start} on: {:?}, we have {:?}",
                    theirs[&start],
                    ours[&start]
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(averages: impl IntoIterator<Item = (i64, f64)>) -> Windows {
        let rows: BTreeMap<i64, [f64; 3]> =
            averages.into_iter().map(|(start, average)| (start, [average, 1.0, 3.0])).collect();
        Windows(WINDOWS.map(|(name, _)| (name.to_owned(), rows.clone())).into())
    }

    #[test]
    fn other_work_is_refused() {
        let ours = windows((0..10).map(|start| (start, 2.0)));
        let check = |averages: Vec<(i64, f64)>| ours.compare(&windows(averages)).is_ok();
        assert!(check((0..10).map(|start| (start, 2.0 + 1e-10)).collect()), "rounded otherwise");
        assert!(check((1..9).map(|start| (start, 2.0)).collect()), "open at the ends");
        assert!(!check((0..10).map(|start| (start, 2.01)).collect()), "another average");
        assert!(!check((0..5).map(|start| (start, 2.0)).collect()), "half of the windows");
        assert!(!check((5..15).map(|start| (start, 2.0)).collect()), "other windows");
    }
}
