//! What the services talk to: one nats-server or three, and how it is hit.

use bus::topology::Limits;
use bus::{Connection, Stream};
use pipeline_tests::cluster::Cluster;
use pipeline_tests::server::{Host, Server};
use pipeline_tests::world::World;

use super::PARTITIONS;

/// One server or several.
#[allow(async_fn_in_trait)]
pub(super) trait Broker: Host + Sized {
    /// Whether work can go on while one server is away.
    const SURVIVES: bool;

    /// A new one with empty streams, and a folder to work in.
    async fn world() -> World<Self>;

    /// A connection that may look at everything.
    async fn admin(&self) -> Connection;

    /// Whether it can take a blow: whoever was killed before has caught up.
    fn is_whole(&self) -> bool;

    /// kill -9 of the server that leads a stream; returns its number.
    fn strike(&mut self, stream: Stream) -> usize;

    /// Starts a killed server again.
    fn mend(&mut self, node: usize);

    /// Waits until every server holds the same. Nobody writes any more.
    fn settle(&self);

    /// Leaves store and log behind.
    fn keep(&mut self);
}

impl Broker for Server {
    const SURVIVES: bool = false;

    async fn world() -> World<Self> {
        World::with_limits(&limits()).await
    }

    async fn admin(&self) -> Connection {
        self.connect("admin").await
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn strike(&mut self, _stream: Stream) -> usize {
        self.kill();
        0
    }

    fn mend(&mut self, _node: usize) {
        self.start_again();
    }

    fn settle(&self) {}

    fn keep(&mut self) {
        self.keep();
    }
}

impl Broker for Cluster {
    const SURVIVES: bool = true;

    async fn world() -> World<Self> {
        World { server: Self::with_limits(&limits()).await, dir: tempfile::tempdir().unwrap() }
    }

    async fn admin(&self) -> Connection {
        self.connect("admin").await
    }

    fn is_whole(&self) -> bool {
        self.is_all_healthy()
    }

    fn strike(&mut self, stream: Stream) -> usize {
        let leader = self.wait_for_leader(stream);
        self.kill(leader);
        leader
    }

    fn mend(&mut self, node: usize) {
        self.start_again(node);
    }

    fn settle(&self) {
        self.wait_until_whole();
    }

    fn keep(&mut self) {
        self.keep();
    }
}

fn limits() -> Limits {
    Limits { partitions: PARTITIONS, ..Limits::default() }
}
