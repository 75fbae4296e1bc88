//! `reporter run`: the web page. It works without internet and writes nothing.

mod feed;
mod pipeline_status;
mod plot;
mod snapshot;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

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
use pipeline_status::PipelineStatus;
use plot::Plot;
use service::{Code, ConnectionLimits, Health, HealthArgs, Shutdown, WithCode};
use snapshot::{Choice, Live, Tables};
use store::paths;
use tokio::net::TcpListener;

use crate::view::View;

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
/// A browser opens up to six connections.
const BOUNDS: ConnectionLimits = ConnectionLimits::of_connections(512);

/// Nothing from elsewhere, no inline code, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page shows, shared by those who fill it and those who answer.
#[derive(Debug)]
struct Shared {
    view: Mutex<View>,
    standing: Mutex<PipelineStatus>,
    /// Changes whenever a table does.
    version: AtomicU64,
    /// When the last price was committed while we looked, by our clock; 0 for never.
    moved_ms: AtomicI64,
    health: Health,
    plot: Plot,
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> MutexGuard<'_, PipelineStatus> {
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
        let plot = self.plot.version();
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
        standing: Mutex::new(PipelineStatus::default()),
        version: AtomicU64::new(0),
        moved_ms: AtomicI64::new(0),
        health: Health::new(),
        plot: Plot::at(args.out.join(paths::PLOT)),
    });
    shared.health.serve(&args.health, shutdown.clone()).await?;
    tracing::info!("the page is at http://{}/", listener.local_addr()?);
    let hosts = args.health.allowed_hosts.clone();
    let served = service::serve(listener, routes(shared.clone()), hosts, BOUNDS, shutdown.clone());
    let served = async { tokio::spawn(served).await.context("the page is no longer served") };
    let fed = async { Ok(feed::follow(&shared, nats, shutdown).await?) };
    tokio::try_join!(served, fed)?;
    Ok(())
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
    match shared.plot.bytes().await {
        Some(bytes) => ([(CONTENT_TYPE, "image/png")], bytes).into_response(),
        None => {
            (StatusCode::NOT_FOUND, "no plot yet: `trainer train`, then `reporter plot`, make one\n").into_response()
        }
    }
}

/// By our clock: only to say how old things are.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
