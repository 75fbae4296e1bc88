//! `reporter run`: the web page. It needs no internet access and writes nothing.

mod api;
mod assets;
mod entity_tag;
mod events;
mod health_line;
mod openapi;
mod page_state;
mod plots;
mod refused;
mod view_updater;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use bus::{Connection, NatsArgs};
use page_state::PageState;
use plots::Plots;
use service::{Code, ConnectionLimits, HealthArgs, Shutdown, WithCode};
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;

use crate::query::Query;
use crate::view::View;

/// Serves a web page: chart, live prices, tables, plots, health.
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
    let shared = Arc::new(PageState::new(View::new(WINDOWS_MAX), shutdown.clone()));
    shared.health.serve(&args.health, shutdown.clone()).await?;
    tracing::info!("the page is at http://{}/", listener.local_addr()?);
    let hosts = args.health.allowed_hosts.clone();
    let plots = Arc::new(Plots::new(args.out.clone()));
    let routes = routes(shared.clone(), Arc::new(Query::new(shared.clone())), plots.clone())?;
    let served = service::serve(listener, routes, hosts, BOUNDS, shutdown.clone());
    let served = async { tokio::spawn(served).await.context("the page is no longer served") };
    let fed = async {
        tokio::select! {
            done = follow(&shared, &plots, nats, shutdown) => Ok(done?),
            () = plots::follow_folder(&plots) => Ok(()),
        }
    };
    tokio::try_join!(served, fed)?;
    Ok(())
}

/// Follows the streams and models of the server until shutdown.
async fn follow(shared: &PageState, plots: &Plots, nats: &NatsArgs, shutdown: &Shutdown) -> Result<(), bus::Error> {
    let Some(connection) = Connection::wait(nats, Some(crate::user::USER), &shared.health, shutdown).await? else {
        return Ok(());
    };
    tokio::select! {
        done = view_updater::follow(shared, &connection, shutdown) => done,
        () = plots::follow_server(plots, &connection) => Ok(()),
    }
}

fn routes(shared: Arc<PageState>, query: Arc<Query>, plots: Arc<Plots>) -> anyhow::Result<Router> {
    Ok(Router::new()
        .route("/health", get(health_line))
        .merge(events::routes())
        .with_state(shared)
        .merge(assets::routes()?)
        .merge(api::routes(query))
        .merge(plots::routes(plots))
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

async fn health_line(State(shared): State<Arc<PageState>>) -> String {
    format!("{}\n", shared.health_line())
}
