//! `reporter run`: the web page. It works without internet and writes nothing.

mod feed;
mod snapshot;
mod standing;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use bus::NatsArgs;
use service::{Code, Health, HealthArgs, Shutdown, WithCode};
use store::layout;
use tokio::net::TcpListener;

use crate::view::View;
use snapshot::{Choice, Live, Tables};
use standing::Standing;

/// Serves a web page: live price, tables, the plot, health.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where the page is served; port 0 takes a free one and logs it
    #[arg(long, env = "CANDLEWIRE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// Folder of output_plot.png, which the page shows; a new one appears by itself
    #[arg(long, env = "CANDLEWIRE_OUT", default_value = "out", value_name = "DIR")]
    pub out: PathBuf,

    /// Where health is served.
    #[command(flatten)]
    pub health: HealthArgs,
}

/// Windows of a kind that are kept for an instrument: two days of hours for the little chart, more than a table shows.
const WINDOWS_MAX: usize = 50;
/// How long open answers may take after shutdown.
const DRAIN: Duration = Duration::from_secs(2);
/// A larger file is no plot of ours.
const PLOT_BYTES_MAX: u64 = 32 << 20;

/// Nothing from elsewhere, no inline code, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page shows, shared by those who fill it and those who answer.
#[derive(Debug)]
struct Shared {
    view: Mutex<View>,
    standing: Mutex<Standing>,
    /// Changes whenever a table does.
    version: AtomicU64,
    /// When the last price was committed while we looked, by our clock; 0 for never.
    moved_ms: AtomicI64,
    health: Health,
    plot: PathBuf,
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    fn moved(&self) {
        self.moved_ms.store(now_ms(), Ordering::Relaxed);
    }

    fn live(&self, choice: &Choice) -> Live {
        let clock = snapshot::Clock { now_ms: now_ms(), moved_ms: self.moved_ms.load(Ordering::Relaxed) };
        let version = self.version.load(Ordering::Relaxed);
        let plot = plot_version(&self.plot);
        snapshot::live(&self.view(), &self.standing(), choice, clock, snapshot::Versions { version, plot })
    }
}

/// Serves until shutdown. The page is there at once and says what is missing.
///
/// # Errors
/// A port that is taken ends with exit code 2; what waiting for the server cannot mend as the bus says.
pub async fn run(args: &Args, nats: &NatsArgs, shutdown: &Shutdown) -> anyhow::Result<()> {
    nats.check(Some(crate::USER))?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}; choose another address with --listen", args.listen))
        .exit_code(Code::BadConfig)?;
    let shared = Arc::new(Shared {
        view: Mutex::new(View::new(WINDOWS_MAX)),
        standing: Mutex::new(Standing::default()),
        version: AtomicU64::new(0),
        moved_ms: AtomicI64::new(0),
        health: Health::new(),
        plot: args.out.join(layout::PLOT),
    });
    shared.health.serve(&args.health, shutdown.clone()).await?;
    tracing::info!("the page is at http://{}/", listener.local_addr()?);
    let stopped = shutdown.clone();
    let served =
        axum::serve(listener, routes(shared.clone())).with_graceful_shutdown(async move { stopped.requested().await });
    let mut served = std::pin::pin!(served.into_future());
    tokio::select! {
        served = &mut served => return served.context("the page is no longer served"),
        fed = feed::follow(&shared, nats, shutdown) => fed?,
    }
    // Told to stop: answers under way are finished, connections that only stay open are not waited for.
    match tokio::time::timeout(DRAIN, served).await {
        Ok(served) => served.context("the page is no longer served"),
        Err(_) => Ok(()),
    }
}

fn routes(shared: Arc<Shared>) -> Router {
    let asset = |kind: &'static str, text: &'static str| get(move || async move { ([(CONTENT_TYPE, kind)], text) });
    Router::new()
        .route("/", asset("text/html; charset=utf-8", include_str!("web/index.html")))
        .route("/app.js", asset("text/javascript; charset=utf-8", include_str!("web/app.js")))
        .route("/style.css", asset("text/css; charset=utf-8", include_str!("web/style.css")))
        .route("/icon.svg", asset("image/svg+xml", include_str!("web/icon.svg")))
        .route("/live.json", get(live))
        .route("/tables.json", get(tables))
        .route("/plot.png", get(plot))
        .route("/health", get(health_line))
        .layer(from_fn(with_headers))
        .with_state(shared)
}

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn live(State(shared): State<Arc<Shared>>, Query(choice): Query<Choice>) -> Json<Live> {
    Json(shared.live(&choice))
}

async fn tables(
    State(shared): State<Arc<Shared>>,
    Query(choice): Query<Choice>,
) -> Result<Json<Tables>, (StatusCode, &'static str)> {
    let version = shared.version.load(Ordering::Relaxed);
    snapshot::tables(&shared.view(), &choice, version)
        .map(Json)
        .ok_or((StatusCode::NOT_FOUND, "no such instrument yet\n"))
}

async fn health_line(State(shared): State<Arc<Shared>>) -> String {
    format!("{}\n", shared.live(&Choice::default()).health.line)
}

async fn plot(State(shared): State<Arc<Shared>>) -> Response {
    const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
    let is_small = tokio::fs::metadata(&shared.plot).await.is_ok_and(|file| file.len() <= PLOT_BYTES_MAX);
    match tokio::fs::read(&shared.plot).await {
        Ok(bytes) if is_small && bytes.starts_with(SIGNATURE) => ([(CONTENT_TYPE, "image/png")], bytes).into_response(),
        _ => (StatusCode::NOT_FOUND, "no plot yet: `trainer train`, then `reporter plot`, make one\n").into_response(),
    }
}

/// When the plot was last replaced; none when there is none.
fn plot_version(path: &Path) -> Option<u64> {
    let changed = std::fs::metadata(path).and_then(|file| file.modified()).ok()?;
    Some(changed.duration_since(UNIX_EPOCH).ok()?.as_millis() as u64)
}

/// By our clock: only to say how old things are.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
