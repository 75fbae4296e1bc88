//! HTTP server of health and page. Clients are untrusted: it limits the number, the duration and the input of
//! connections, and answers only under its own host names.
//!
//! When all connections are in use, a new client replaces the oldest connection. A request takes milliseconds, so probes
//! of a supervisor are answered even while other clients hold as many connections as they can.

mod endless;
mod hosts;
mod progress;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::shutdown::Shutdown;
pub use endless::Endless;
pub use hosts::Hosts;
use progress::Progressing;

/// Longest request head; longer ones get 431. Browsers send the cookies of every port of a host.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Time for open responses to finish after shutdown.
const DRAIN: Duration = Duration::from_secs(2);
/// Pause before the next `accept` when it failed and no connection can be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// At most one warning in this time during a lasting flood.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Limits on the connections of a server.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Concurrent connections.
    connections: usize,
    /// Time for the head of a request, counted from the previous response; also the longest idle time.
    head: Duration,
    /// Longest use of a connection; this ends clients that read slowly or not at all.
    usage: Duration,
    /// Time for the last response after that.
    last_answer: Duration,
    /// Longest time in which a client takes no byte of its response. It also ends clients of endless responses.
    blocked: Duration,
}

impl ConnectionLimits {
    /// The default times, with this many concurrent connections.
    pub const fn of_connections(connections: usize) -> Self {
        let seconds = Duration::from_secs;
        Self { connections, head: seconds(5), usage: seconds(60), last_answer: seconds(10), blocked: seconds(20) }
    }
}

/// Serves `routes` under the names in `hosts` until shutdown.
pub async fn serve(listener: TcpListener, routes: Router, hosts: Hosts, limits: ConnectionLimits, shutdown: Shutdown) {
    let routes = hosts.guard(routes);
    let mut connections = Connections::new(limits.connections);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.requested() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let endless = Endless::default();
                let served = serve_connection(stream, routes.clone(), limits, endless.clone(), shutdown.clone());
                connections.admit(served, endless).await
            }
            Err(error) if is_gone(&error) => {}
            // Out of file descriptors or memory: free some before the next try.
            Err(error) => connections.make_room(&error).await,
        }
    }
    drop(listener);
    connections.drain().await;
}

/// Serves one client until either side ends the connection.
async fn serve_connection(
    stream: TcpStream,
    routes: Router,
    limits: ConnectionLimits,
    endless: Endless,
    shutdown: Shutdown,
) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD_BYTES_MAX);
    let (routes, mark) = (TowerToHyperService::new(routes), endless.clone());
    let marked = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(mark.clone());
        routes.call(request)
    });
    let socket = TokioIo::new(Progressing::new(stream, limits.blocked));
    let mut connection = std::pin::pin!(server.serve_connection(socket, marked));
    // Errors here are caused by the client, and clients must not fill the log.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = used_up(limits.usage, &endless) => {}
        () = shutdown.requested() => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(timeout(limits.last_answer, connection).await);
}

/// Waits until a connection was used for long enough, which one with an endless response never was.
async fn used_up(usage: Duration, endless: &Endless) {
    sleep(usage).await;
    if endless.is_marked() {
        std::future::pending::<()>().await;
    }
}

/// Whether the client closed the connection before it was accepted.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The open connections.
#[derive(Debug)]
struct Connections {
    tasks: JoinSet<()>,
    /// The same, oldest first, each with its mark.
    by_age: VecDeque<(AbortHandle, Endless)>,
    max: usize,
    warned: Option<Instant>,
}

impl Connections {
    fn new(max: usize) -> Self {
        Self { tasks: JoinSet::new(), by_age: VecDeque::new(), max, warned: None }
    }

    /// Adds a connection, replacing the oldest one when the limit is reached.
    async fn admit(&mut self, connection: impl Future<Output = ()> + Send + 'static, endless: Endless) {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= self.max {
            let max = self.max;
            self.warn(format_args!("all {max} HTTP connections are in use: each new one closes the oldest"));
            self.close_oldest().await;
        }
        self.by_age.retain(|(open, _)| !open.is_finished());
        self.by_age.push_back((self.tasks.spawn(connection), endless));
    }

    /// Closes the oldest connection to free its resources, or waits when there is none.
    async fn make_room(&mut self, error: &io::Error) {
        self.warn(format_args!("cannot accept an HTTP connection: {error}"));
        if !self.close_oldest().await {
            sleep(ACCEPT_PAUSE).await;
        }
    }

    /// Closes the oldest connection, one with an endless response only if there is no other. Returns whether there was
    /// one, once it is closed.
    async fn close_oldest(&mut self) -> bool {
        self.by_age.retain(|(open, _)| !open.is_finished());
        let oldest = self.by_age.iter().position(|(_, endless)| !endless.is_marked()).unwrap_or_default();
        if let Some((oldest, _)) = self.by_age.remove(oldest) {
            oldest.abort();
        }
        self.tasks.join_next().await.is_some()
    }

    /// Waits for open responses to finish.
    async fn drain(mut self) {
        drop(timeout(DRAIN, async { while self.tasks.join_next().await.is_some() {} }).await);
    }

    fn warn(&mut self, message: std::fmt::Arguments<'_>) {
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!("{message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::Extension;
    use axum::routing::get;
    use hyper::body::{Body, Bytes, Frame};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);
    const SHORT: Duration = Duration::from_millis(50);
    const HALF: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nX-More: ";
    const WHOLE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    /// More than the system buffers for a client that reads nothing.
    const LARGE: usize = 64 << 20;

    async fn start(limits: ConnectionLimits, shutdown: &Shutdown) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/", get(async || "here\n"))
            .route("/large", get(async || vec![0; LARGE]))
            .route("/endless", get(endless));
        tokio::spawn(serve(listener, routes, Hosts::default(), limits, shutdown.clone()));
        addr
    }

    /// A body without an end.
    struct Lines;

    impl Body for Lines {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"here\n")))))
        }
    }

    async fn endless(Extension(endless): Extension<Endless>) -> axum::body::Body {
        endless.mark();
        axum::body::Body::new(Lines)
    }

    async fn open(addr: std::net::SocketAddr, words: &str) -> TcpStream {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(words.as_bytes()).await.unwrap();
        client
    }

    /// Reads until the server ends the connection, which it must do.
    async fn rest(mut client: TcpStream) -> String {
        let mut answer = Vec::new();
        let end = timeout(Duration::from_secs(60), client.read_to_end(&mut answer)).await;
        // A reset counts as an end too.
        drop(end.expect("the server ends the connection"));
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Reads the response to one request on a kept connection.
    async fn answer(client: &mut TcpStream) -> String {
        let mut answer = String::new();
        while !answer.ends_with("here\n") {
            let mut bytes = [0; 1_024];
            let count = client.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "the server has ended the connection after {answer:?}");
            answer.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        answer
    }

    #[tokio::test]
    async fn a_client_that_waits_too_long_is_closed() {
        let limits = ConnectionLimits { head: SHORT, usage: LONG, ..ConnectionLimits::of_connections(9) };
        let addr = start(limits, &Shutdown::new()).await;
        assert_eq!(rest(open(addr, "").await).await, "");
        assert!(!rest(open(addr, HALF).await).await.contains("here"));
        let mut idle = open(addr, WHOLE).await;
        answer(&mut idle).await;
        rest(idle).await;
        let mut drip = open(addr, HALF).await;
        let dripped = timeout(Duration::from_secs(60), async {
            while drip.write_all(b"x").await.is_ok() {
                sleep(SHORT / 10).await;
            }
        });
        dripped.await.expect("the server ends the connection");
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_closed() {
        let limits = ConnectionLimits { usage: SHORT, last_answer: SHORT, ..ConnectionLimits::of_connections(9) };
        let addr = start(limits, &Shutdown::new()).await;
        let mut client = open(addr, &WHOLE.replace("GET /", "GET /large")).await;
        let closed = async { while client.write_all(WHOLE.as_bytes()).await.is_ok() {} };
        timeout(Duration::from_secs(60), closed).await.expect("the server ends the connection");
        assert!(rest(client).await.len() < LARGE);
    }

    #[tokio::test]
    async fn a_new_client_replaces_the_oldest_connection() {
        let addr = start(
            ConnectionLimits { head: LONG, usage: LONG, ..ConnectionLimits::of_connections(3) },
            &Shutdown::new(),
        )
        .await;
        let mut holders = Vec::new();
        for _ in 0..3 {
            holders.push(open(addr, HALF).await);
        }
        let mut new = open(addr, WHOLE).await;
        assert!(answer(&mut new).await.starts_with("HTTP/1.1 200 "));
        let newest = holders.pop().unwrap();
        rest(holders.swap_remove(0)).await;
        for mut other in [holders.remove(0), newest] {
            other.write_all(b"x\r\n\r\n").await.unwrap();
            answer(&mut other).await;
        }
    }

    #[tokio::test]
    async fn an_endless_response_outlives_the_time_for_use() {
        let limits = ConnectionLimits { usage: SHORT, last_answer: SHORT, ..ConnectionLimits::of_connections(9) };
        let addr = start(limits, &Shutdown::new()).await;
        let mut client = open(addr, &WHOLE.replace("GET /", "GET /endless")).await;
        let (opened, mut bytes) = (Instant::now(), vec![0; 1 << 16]);
        while opened.elapsed() < 10 * SHORT {
            assert_ne!(client.read(&mut bytes).await.unwrap(), 0, "the server has ended the response");
        }
    }

    #[tokio::test]
    async fn a_client_that_reads_no_endless_response_is_closed() {
        let limits = ConnectionLimits { blocked: SHORT, ..ConnectionLimits::of_connections(9) };
        let addr = start(limits, &Shutdown::new()).await;
        let mut client = open(addr, &WHOLE.replace("GET /", "GET /endless")).await;
        let closed = async { while client.write_all(WHOLE.as_bytes()).await.is_ok() {} };
        timeout(Duration::from_secs(60), closed).await.expect("the server ends the connection");
    }

    #[tokio::test]
    async fn a_new_client_does_not_replace_an_endless_response() {
        let limits = ConnectionLimits { head: LONG, usage: LONG, ..ConnectionLimits::of_connections(2) };
        let addr = start(limits, &Shutdown::new()).await;
        let mut follower = open(addr, &WHOLE.replace("GET /", "GET /endless")).await;
        let mut bytes = vec![0; 1 << 16];
        assert_ne!(follower.read(&mut bytes).await.unwrap(), 0);
        let holder = open(addr, HALF).await;
        answer(&mut open(addr, WHOLE).await).await;
        rest(holder).await;
        assert_ne!(follower.read(&mut bytes).await.unwrap(), 0, "the server has ended the response");
    }

    #[tokio::test]
    async fn a_long_head_and_a_foreign_host_are_refused() {
        let addr = start(
            ConnectionLimits { head: LONG, usage: LONG, ..ConnectionLimits::of_connections(3) },
            &Shutdown::new(),
        )
        .await;
        let long = format!("{HALF}{}", "x".repeat(HEAD_BYTES_MAX));
        assert!(rest(open(addr, &long).await).await.starts_with("HTTP/1.1 431 "));
        let once = |host: &str| format!("GET /none HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        let foreign = rest(open(addr, &once("Host: evil.example\r\n")).await).await;
        assert!(foreign.starts_with("HTTP/1.1 421 ") && foreign.contains("--allowed-hosts"), "{foreign}");
        assert!(rest(open(addr, &once("")).await).await.starts_with("HTTP/1.1 400 "));
        assert!(rest(open(addr, &once("Host: localhost\r\n")).await).await.starts_with("HTTP/1.1 404 "));
    }

    #[tokio::test]
    async fn a_server_that_stops_ends_every_connection() {
        let shutdown = Shutdown::new();
        let addr =
            start(ConnectionLimits { head: LONG, usage: LONG, ..ConnectionLimits::of_connections(3) }, &shutdown).await;
        let mut idle = open(addr, WHOLE).await;
        answer(&mut idle).await;
        let half = open(addr, HALF).await;
        shutdown.request();
        rest(idle).await;
        rest(half).await;
        assert!(TcpStream::connect(addr).await.is_err());
    }
}
