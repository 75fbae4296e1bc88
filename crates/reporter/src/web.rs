//! `reporter run`: the web page. It needs no internet access and writes nothing.

mod api;
mod assets;
mod events;
mod openapi;
mod page_state;
mod plot_file;
mod plots;
mod snapshot;
mod view_updater;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::{Query as UrlQuery, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use bus::NatsArgs;
use page_state::PageState;
use plot_file::PlotFile;
use plots::Plots;
use service::{Code, ConnectionLimits, HealthArgs, Shutdown, WithCode};
use snapshot::{Choice, LiveSnapshot, TablesSnapshot};
use store::paths;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;

use crate::query::Query;
use crate::view::View;

/// Serves a web page: live price, tables, the plot, health.
#[derive(Debug, Clone, clap::Args)]
pub struct PageArgs {
    /// Address of the page; port 0 takes a free port and logs it
    #[arg(long, env = "CANDLEWIRE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,

    /// Folder of a run; the page shows plots and report of its model while NATS holds none of the instrument
    #[arg(long, env = "CANDLEWIRE_OUT", default_value = "out", value_name = "DIR")]
    pub out: PathBuf,

    /// Address of the health endpoint.
    #[command(flatten)]
    pub health: HealthArgs,
}

/// Windows of a kind that are kept per instrument: 50 hours for the chart, which is more than a table shows.
const WINDOWS_MAX: usize = 50;
/// Each open page holds one connection for its events, of which there are at most 512. A browser opens up to five more for
/// a moment.
const BOUNDS: ConnectionLimits = ConnectionLimits::of_connections(1_024);

/// Content security policy: only resources of this server, no inline code, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Headers of every answer that does not have them.
const HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-cache"),
];

/// Serves the page until shutdown. The page is available at once and shows what is missing.
///
/// # Errors
/// Exit code 2 if the port is taken; otherwise an error of NATS that waiting does not solve.
pub async fn run(args: &PageArgs, nats: &NatsArgs, shutdown: &Shutdown) -> anyhow::Result<()> {
    nats.check(Some(crate::user::USER))?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}; choose another address with --listen", args.listen))
        .exit_code(Code::BadConfig)?;
    let shared =
        Arc::new(PageState::new(View::new(WINDOWS_MAX), PlotFile::at(args.out.join(paths::PLOT)), shutdown.clone()));
    shared.health.serve(&args.health, shutdown.clone()).await?;
    tracing::info!("the page is at http://{}/", listener.local_addr()?);
    let hosts = args.health.allowed_hosts.clone();
    let plots = Arc::new(Plots::new(args.out.clone()));
    let routes = routes(shared.clone(), Arc::new(Query::new(shared.clone())))?.merge(plots::routes(plots.clone()));
    let served = service::serve(listener, routes, hosts, BOUNDS, shutdown.clone());
    let served = async { tokio::spawn(served).await.context("the page is no longer served") };
    let fed = async { Ok(view_updater::follow(&shared, nats, shutdown).await?) };
    let drawn = async {
        plots::follow(&plots, nats, shutdown).await;
        Ok(())
    };
    tokio::try_join!(served, fed, drawn)?;
    Ok(())
}

fn routes(shared: Arc<PageState>, query: Arc<Query>) -> anyhow::Result<Router> {
    Ok(Router::new()
        .route("/live.json", get(live))
        .route("/tables.json", get(tables))
        .route("/plot.png", get(plot))
        .route("/health", get(health_line))
        .merge(events::routes())
        .with_state(shared)
        .merge(assets::routes()?)
        .merge(api::routes(query))
        // Text that is made for each answer; it leaves out events, pictures and files that are compressed already.
        .layer(CompressionLayer::new())
        .layer(from_fn(with_headers)))
}

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        // An answer may have its own.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn live(State(shared): State<Arc<PageState>>, UrlQuery(choice): UrlQuery<Choice>) -> Json<LiveSnapshot> {
    Json(shared.live_snapshot(&choice))
}

async fn tables(
    State(shared): State<Arc<PageState>>,
    UrlQuery(choice): UrlQuery<Choice>,
) -> Result<Json<TablesSnapshot>, (StatusCode, &'static str)> {
    shared.tables(&choice).map(Json).ok_or((StatusCode::NOT_FOUND, "no such instrument yet\n"))
}

async fn health_line(State(shared): State<Arc<PageState>>) -> String {
    format!("{}\n", shared.live_snapshot(&Choice::default()).health.line)
}

async fn plot(State(shared): State<Arc<PageState>>) -> Response {
    match shared.plot.bytes().await {
        Some(bytes) => ([(CONTENT_TYPE, "image/png")], bytes).into_response(),
        None => (StatusCode::NOT_FOUND, "no plot yet: run `trainer train`, then `reporter plot`\n").into_response(),
    }
}
