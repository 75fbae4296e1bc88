//! What a process took, as Linux tells it.

use anyhow::Context;

/// Clock ticks of Linux in a second, as user programs see them on every architecture.
const CLOCK_TICKS: f64 = 100.0;

/// Seconds of processor time that a process has used, also one that has ended and was not waited for.
///
/// # Errors
/// There is no such process.
pub fn cpu_seconds(id: u32) -> anyhow::Result<f64> {
    let fields = stat(id)?;
    let ticks = |idx: usize| fields.get(idx).and_then(|field| field.parse::<f64>().ok());
    let total = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
    Ok(total.with_context(|| format!("/proc/{id}/stat has another form"))? / CLOCK_TICKS)
}

/// Whether a process has ended and was not waited for.
///
/// # Errors
/// There is no such process.
pub fn has_ended(id: u32) -> anyhow::Result<bool> {
    Ok(stat(id)?.first().is_some_and(|state| state == "Z"))
}

/// Bytes of memory of its own, shared pages counted in part (PSS).
///
/// # Errors
/// There is no such process.
pub fn pss_bytes(id: u32) -> anyhow::Result<u64> {
    kib_line(&format!("/proc/{id}/smaps_rollup"), "Pss:")
}

/// The most bytes of memory that a process ever held, shared pages counted whole.
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

/// Bytes of the line of a file that begins so and gives them in KiB.
fn kib_line(path: &str, name: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} has another form"))? * 1_024)
}
