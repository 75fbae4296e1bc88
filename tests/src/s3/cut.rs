//! A way to a server that ends after so many bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::programs::NEVER;

/// A proxy that passes on so many bytes to the server, and then nothing any more, on no connection.
pub struct Cut {
    address: SocketAddr,
    way: Arc<Way>,
    task: JoinHandle<()>,
}

struct Way {
    upstream: String,
    left: AtomicI64,
    over: Notify,
}

impl Cut {
    /// Stands before the server at a URL.
    pub async fn after(bytes: i64, url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = url.trim_start_matches("http://").to_owned();
        let way = Arc::new(Way { upstream, left: AtomicI64::new(bytes), over: Notify::new() });
        let task = tokio::spawn(accept(listener, Arc::clone(&way)));
        Self { address, way, task }
    }

    /// Where clients connect to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns when no byte passes any more.
    pub async fn happened(&self) {
        tokio::time::timeout(NEVER, self.way.over.notified()).await.expect("too few bytes were sent");
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, way: Arc<Way>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(pass(client, Arc::clone(&way)));
    }
}

/// Passes a connection's bytes until the end of it or of the way; then both sides are closed.
async fn pass(client: TcpStream, way: Arc<Way>) {
    if way.left.load(Ordering::Relaxed) <= 0 {
        return;
    }
    let server = TcpStream::connect(&way.upstream).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let up = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            if way.left.fetch_sub(count as i64, Ordering::Relaxed) < count as i64 {
                way.over.notify_one();
                return;
            }
            if to_server.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}
