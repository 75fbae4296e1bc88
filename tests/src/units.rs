//! Unit files of systemd, run without systemd: below a folder into which `scripts/install --destdir` has put everything.
//!
//! It does what the shipped units ask for as systemd does it: settings, drop-ins, templates and specifiers, credentials,
//! readiness and watchdog over a real notify socket, restarts, stops, order, what a target pulls in. What it does not know it
//! refuses. Two things differ: nothing is locked down, and an absolute path that is in the folder means the one in the folder.
//!
//! Each unit has a supervisor, a process in the background, that leaves its state and its log in the folder's `run/units`.
//! Start reading at [`control`]; `units --help` is the command.

pub mod control;
mod file;
mod root;
mod service;
mod state;
mod supervisor;

pub use file::Unit;
pub use root::Root;
pub use state::{Active, Job, State};
pub use supervisor::supervise;
