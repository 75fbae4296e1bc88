//! The message broker under test: one nats-server, or a cluster of three.

use bus::topology::Limits;
use bus::{Connection, Stream};
use pipeline_tests::cluster::Cluster;
use pipeline_tests::host::Host;
use pipeline_tests::server::Server;
use pipeline_tests::test_pipeline::TestPipeline;

use super::options::PARTITIONS;

/// One server or several.
#[allow(async_fn_in_trait)]
pub(super) trait Broker: Host + Sized {
    /// Whether work can continue while one server is down.
    const SURVIVES: bool;

    /// Starts a broker with empty streams, and a working folder.
    async fn pipeline() -> TestPipeline<Self>;

    /// A connection that may read everything.
    async fn admin(&self) -> Connection;

    /// Whether a server may be killed: every restarted server has caught up.
    fn is_whole(&self) -> bool;

    /// Sends kill -9 to the server that leads a stream; returns its number.
    fn kill_leader(&mut self, stream: Stream) -> usize;

    /// Restarts a killed server.
    fn restart(&mut self, node: usize);

    /// Waits until all servers hold the same data, when there are no writers any more.
    fn settle(&self);

    /// Keeps store and log after the run.
    fn keep(&mut self);
}

impl Broker for Server {
    const SURVIVES: bool = false;

    async fn pipeline() -> TestPipeline<Self> {
        TestPipeline::with_limits(&limits()).await
    }

    async fn admin(&self) -> Connection {
        self.connect("admin").await
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn kill_leader(&mut self, _stream: Stream) -> usize {
        self.kill();
        0
    }

    fn restart(&mut self, _node: usize) {
        self.start_again();
    }

    fn settle(&self) {}

    fn keep(&mut self) {
        self.keep();
    }
}

impl Broker for Cluster {
    const SURVIVES: bool = true;

    async fn pipeline() -> TestPipeline<Self> {
        TestPipeline { server: Self::with_limits(&limits()).await, dir: tempfile::tempdir().unwrap() }
    }

    async fn admin(&self) -> Connection {
        self.connect("admin").await
    }

    fn is_whole(&self) -> bool {
        self.is_all_healthy()
    }

    fn kill_leader(&mut self, stream: Stream) -> usize {
        let leader = self.wait_for_leader(stream);
        self.kill(leader);
        leader
    }

    fn restart(&mut self, node: usize) {
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
