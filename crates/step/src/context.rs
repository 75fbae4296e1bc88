//! Connection, settings and callbacks that the workers of a process share.

use std::sync::Arc;

use bus::Connection;
use service::{Health, Shutdown};

use crate::args::InstanceArgs;
use crate::part::Outgoing;

/// Callback that receives the messages of every stored commit of a partition.
pub type OnCommit = Arc<dyn Fn(&[Outgoing]) + Send + Sync>;

/// Connection, settings and callbacks that the workers of a process share.
#[derive(Clone)]
pub struct Context {
    /// The connection.
    pub connection: Connection,
    /// Asks all tasks to commit what was applied and to end.
    pub shutdown: Shutdown,
    /// Health of the process.
    pub health: Health,
    /// Called after every stored commit.
    pub on_commit: Option<OnCommit>,
    /// Share of the partitions among instances.
    pub instance: InstanceArgs,
}
