//! Address of a server or cluster.

/// A server or cluster to connect to.
pub trait Host {
    /// The address as `--nats-url` takes it.
    fn url(&self) -> String;
}
