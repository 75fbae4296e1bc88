//! Archive storage whose writer dies at a chosen step.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fmt, io};

use store::archive::storage::{Content, Fill, Storage, StorageError, StoredFile, WriterClaim};

/// Leaves the half-written file of a writer that dies while writing a file of this name.
pub type LeaveHalf = Arc<dyn Fn(&str) + Send + Sync>;

/// Storage that executes this many steps for its writer and then fails. Each step is a point at which a process can be
/// killed: before a file appears, halfway through, after it appeared, between two removals.
pub struct Faulty<P> {
    inner: P,
    steps: AtomicUsize,
    leave_half: LeaveHalf,
}

impl<P> Faulty<P> {
    /// Creates storage whose writer dies after this many steps.
    pub fn new(inner: P, steps: usize, leave_half: LeaveHalf) -> Self {
        Self { inner, steps: AtomicUsize::new(steps), leave_half }
    }

    /// Executes a step, if the writer is alive.
    fn step(&self) -> Result<(), StorageError> {
        let left = self.steps.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |steps| steps.checked_sub(1));
        left.map(drop).map_err(|_| StorageError::Io { path: "writer".into(), error: io::Error::other("dead") })
    }
}

impl<P: fmt::Debug> fmt::Debug for Faulty<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<P: fmt::Display> fmt::Display for Faulty<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<P: Storage> Storage for Faulty<P> {
    fn claim(&self) -> Result<WriterClaim, StorageError> {
        self.step()?;
        let claim = self.inner.claim()?;
        self.step()?;
        Ok(claim)
    }

    fn list(&self) -> Result<Vec<StoredFile>, StorageError> {
        self.inner.list()
    }

    fn open(&self, name: &str) -> Result<Option<Content>, StorageError> {
        self.inner.open(name)
    }

    fn put(&self, fill: &mut Fill<'_>) -> Result<(), StorageError> {
        self.step()?;
        if let Err(dead) = self.step() {
            let name = fill(&mut io::sink()).map_err(|error| StorageError::Io { path: "writer".into(), error })?;
            (self.leave_half)(&name);
            return Err(dead);
        }
        self.inner.put(fill)?;
        self.step()
    }

    fn remove(&self, names: &[String]) -> Result<(), StorageError> {
        for name in names {
            self.step()?;
            self.inner.remove(std::slice::from_ref(name))?;
        }
        self.step()
    }

    fn full_name(&self) -> String {
        self.inner.full_name()
    }
}
