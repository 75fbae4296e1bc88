//! A connection to a server that breaks after a number of bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::programs::NEVER;

/// A proxy that forwards this many bytes to the server, and then nothing more on any connection.
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
    /// Starts the proxy before the server at a URL.
    pub async fn after(bytes: i64, url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = url.trim_start_matches("http://").to_owned();
        let way = Arc::new(Way { upstream, left: AtomicI64::new(bytes), over: Notify::new() });
        let task = tokio::spawn(accept(listener, Arc::clone(&way)));
        Self { address, way, task }
    }

    /// Address for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns once no more bytes pass.
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

/// Forwards the bytes of a connection until its end or the limit; then closes both sides.
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
