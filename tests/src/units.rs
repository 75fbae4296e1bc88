//! Simulator of systemd for the shipped unit files, below a folder filled by `scripts/install --destdir`.
//!
//! It implements the used features of systemd: settings, drop-ins, templates and specifiers, credentials, readiness and
//! watchdog over a real notify socket, restarts, stops, ordering, and what a target pulls in. It refuses unknown
//! settings. Two things differ: services are not sandboxed, and an absolute path that exists in the folder means the
//! one in the folder.
//!
//! Each unit has a supervisor, a background process that keeps its state and its log in the folder's `run/units`. Start
//! reading at [`control`]; `units --help` is the command.

pub mod control;
mod file;
mod root;
mod service;
mod state;
mod supervisor;

pub use file::Unit;
pub use root::Root;
pub use state::{Active, Job, UnitState};
pub use supervisor::supervise;
