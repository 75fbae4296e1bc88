//! HTTP routes `/healthz` (alive), `/readyz` (ready), `/fresh` (fresh data) and `/metrics`, for people, supervisors and
//! Prometheus.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::Health;
use crate::metrics::CONTENT_TYPE;

/// Returns the health routes.
pub(super) fn routes(health: Health, fresh_within: Duration) -> Router {
    Router::new()
        .route("/healthz", get(async |State(health): State<Health>| answer(health.check_alive().map(|()| "ok".into()))))
        .route("/readyz", get(async |State(health): State<Health>| answer(health.check().map(|()| "ready".into()))))
        .route(
            "/fresh",
            get(async move |State(health): State<Health>| answer(health.check_fresh(SystemTime::now(), fresh_within))),
        )
        .route("/metrics", get(metrics))
        .with_state(health)
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
