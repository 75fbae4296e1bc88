//! `/healthz` (it lives), `/readyz` (it is useful), `/fresh` (its data is new) and `/metrics`, for people, supervisors and
//! Prometheus.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Health;
use crate::metrics::CONTENT_TYPE;
use crate::shutdown::Shutdown;

/// Answers until shutdown.
pub(super) async fn serve(listener: TcpListener, health: Health, fresh_within: Duration, shutdown: Shutdown) {
    let routes = Router::new()
        .route("/healthz", get(async |State(health): State<Health>| answer(health.check_alive().map(|()| "ok".into()))))
        .route("/readyz", get(async |State(health): State<Health>| answer(health.check().map(|()| "ready".into()))))
        .route(
            "/fresh",
            get(async move |State(health): State<Health>| answer(health.check_fresh(SystemTime::now(), fresh_within))),
        )
        .route("/metrics", get(metrics))
        .with_state(health);
    let served = axum::serve(listener, routes).with_graceful_shutdown(async move { shutdown.requested().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "health is no longer served");
    }
}

fn answer(judged: Result<String, String>) -> (StatusCode, String) {
    match judged {
        Ok(words) => (StatusCode::OK, words + "\n"),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n"),
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], health.metrics().to_text())
}
