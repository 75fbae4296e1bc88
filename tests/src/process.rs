//! Signals to a process, and its resources from Linux' /proc.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Context;

/// Clock ticks per second, as user programs see them on every architecture.
const CLOCK_TICKS: f64 = 100.0;

/// Sends a process a signal by its name.
pub fn signal(id: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &id.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Processor seconds of a process, including one that has ended and was not waited for.
///
/// # Errors
/// There is no such process.
pub fn cpu_seconds(id: u32) -> anyhow::Result<f64> {
    seconds(id, [11, 12])
}

/// Processor seconds of the ended children that a process has waited for.
///
/// # Errors
/// There is no such process.
pub fn cpu_seconds_of_children(id: u32) -> anyhow::Result<f64> {
    seconds(id, [13, 14])
}

/// The sum of the times at these indexes of [`stat`].
fn seconds(id: u32, places: [usize; 2]) -> anyhow::Result<f64> {
    let fields = stat(id)?;
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok());
    let total = places.into_iter().map(ticks).sum::<Option<f64>>();
    Ok(total.with_context(|| format!("/proc/{id}/stat has another form"))? / CLOCK_TICKS)
}

/// Whether a process has ended and was not waited for.
///
/// # Errors
/// There is no such process.
pub fn has_ended(id: u32) -> anyhow::Result<bool> {
    Ok(stat(id)?.first().is_some_and(|state| state == "Z"))
}

/// Memory of a process in bytes, with a proportional share of shared pages (PSS).
///
/// # Errors
/// There is no such process.
pub fn pss_bytes(id: u32) -> anyhow::Result<u64> {
    kib_line(&format!("/proc/{id}/smaps_rollup"), "Pss:")
}

/// Memory of each of these processes in bytes, as [`pss_bytes`], but as if this test process did not exist: it also has
/// libxgboost mapped, and would halve the share of the only service that has it. Pages mapped by one of them alone
/// count whole.
///
/// # Errors
/// One of them has ended.
pub fn pss_bytes_of_all(ids: &[u32]) -> anyhow::Result<Vec<u64>> {
    let all = ids.iter().map(|id| mapped(*id)).collect::<anyhow::Result<Vec<_>>>()?;
    let is_shared = |path: &str| all.iter().filter(|maps| maps.contains_key(path)).count() > 1;
    let counted = |(path, map): (&String, &Mapped)| {
        if path.starts_with('/') && !is_shared(path) { map.rss } else { map.pss }
    };
    Ok(all.iter().map(|maps| maps.iter().map(counted).sum::<u64>() * 1_024).collect())
}

/// Memory mapped from one file, or anonymous memory.
#[derive(Default)]
struct Mapped {
    /// KiB, with shared pages counted whole.
    rss: u64,
    /// KiB, with shared pages counted in part.
    pss: u64,
}

fn mapped(id: u32) -> anyhow::Result<BTreeMap<String, Mapped>> {
    let path = format!("/proc/{id}/smaps");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let mut all: BTreeMap<String, Mapped> = BTreeMap::new();
    let mut file = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let kib = words.get(1).and_then(|word| word.parse::<u64>().ok());
        match (words.first(), kib) {
            (Some(&"Rss:"), Some(kib)) => all.entry(file.clone()).or_default().rss += kib,
            (Some(&"Pss:"), Some(kib)) => all.entry(file.clone()).or_default().pss += kib,
            // `7f15-7f16 r-xp 00000000 08:01 42 /usr/lib/libc.so.6`; a value ends its name with a colon.
            (Some(range), _) if !range.ends_with(':') => file = words.get(5).copied().unwrap_or_default().to_owned(),
            _ => {}
        }
    }
    Ok(all)
}

/// Peak memory of a process in bytes, with shared pages counted whole.
///
/// # Errors
/// There is no such process.
pub fn peak_bytes(id: u32) -> anyhow::Result<u64> {
    kib_line(&format!("/proc/{id}/status"), "VmHWM:")
}

/// The fields of `/proc/ID/stat` from the third on. The name in field 2 may hold spaces, but ends with `)`.
fn stat(id: u32) -> anyhow::Result<Vec<String>> {
    let path = format!("/proc/{id}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(stat.rsplit(')').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect())
}

/// The value of a line with this name, which the file gives in KiB, in bytes.
fn kib_line(path: &str, name: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} has another form"))? * 1_024)
}
