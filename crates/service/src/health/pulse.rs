//! Liveness of the loops of a service.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait of a loop before it must beat again.
pub const BEAT: Duration = Duration::from_secs(5);
/// A loop without a beat for this long counts as stuck. Longer than the few beats that a busy machine may miss.
const STUCK: Duration = Duration::from_secs(20);

/// Watches one loop. Dropping it ends the watch.
#[derive(Debug)]
pub struct Pulse {
    all: Pulses,
    id: u64,
    moved: Arc<AtomicU64>,
}

impl Pulse {
    /// Records that the loop moved.
    pub fn beat(&self) {
        self.moved.store(self.all.elapsed_ms(), Ordering::Relaxed);
    }

    /// Awaits work that may rightly take long, beating meanwhile.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            self.beat();
            match tokio::time::timeout(BEAT, &mut work).await {
                Ok(done) => return done,
                Err(_) => continue,
            }
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.all.loops.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// All watched loops of a process. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Pulses {
    /// Origin of the recorded times.
    start: Instant,
    loops: Arc<Mutex<BTreeMap<u64, Loop>>>,
}

#[derive(Debug)]
struct Loop {
    name: String,
    /// Time of the last beat, in milliseconds after the start.
    moved: Arc<AtomicU64>,
}

impl Default for Pulses {
    fn default() -> Self {
        Self { start: Instant::now(), loops: Arc::default() }
    }
}

impl Pulses {
    pub(super) fn start(&self, name: String) -> Pulse {
        let moved = Arc::new(AtomicU64::new(self.elapsed_ms()));
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let id = loops.last_key_value().map_or(0, |(id, _)| id + 1);
        loops.insert(id, Loop { name, moved: Arc::clone(&moved) });
        Pulse { all: self.clone(), id, moved }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.check_at(self.elapsed_ms())
    }

    fn check_at(&self, now: u64) -> Result<(), String> {
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let still = |one: &Loop| Duration::from_millis(now.saturating_sub(one.moved.load(Ordering::Relaxed)));
        match loops.values().max_by_key(|one| still(one)) {
            Some(one) if still(one) > STUCK => {
                Err(format!("{} has not moved for {} s", one.name, still(one).as_secs()))
            }
            _ => Ok(()),
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_loop_is_found_and_an_ended_one_is_not() {
        let pulses = Pulses::default();
        let (busy, stuck) = (pulses.start("busy".to_owned()), pulses.start("partition 3".to_owned()));
        assert_eq!(pulses.check_at(20_000), Ok(()), "a few missed beats are none");
        busy.moved.store(25_000, Ordering::Relaxed);
        assert_eq!(pulses.check_at(25_500), Err("partition 3 has not moved for 25 s".to_owned()));
        drop(stuck);
        assert_eq!(pulses.check_at(25_500), Ok(()));
        assert!(pulses.check_at(50_000).is_err_and(|reason| reason.starts_with("busy")));
    }
}
