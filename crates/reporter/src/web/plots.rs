//! Plots and reports of the models that the pipeline has made. They are drawn when they are first asked for after a
//! training, one model at a time, and kept within a bound of bytes.
//!
//! `follower` notices new models, `models` knows which one counts, `source` reads the material of one, and `cache` keeps
//! finished files.

mod cache;
mod follower;
mod models;
mod policy;
mod source;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use bus::Connection;
use cache::{Cache, File, FileName};
use market::Recipe;
use models::{Models, PlotKey};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub(super) use follower::{follow_folder, follow_server};

use super::entity_tag;
use super::refused::Refused;
use crate::plot::{Format, ImageFormat, PlotKind};
use crate::query::error::{ErrorCode, QueryError};
use crate::report::{ReportData, page};

/// Longest wait for other pictures that are being drawn.
const TURN_MAX: Duration = Duration::from_secs(20);

/// Everything that the routes need.
#[derive(Debug)]
pub(super) struct Plots {
    /// Folder of a run, whose model is shown while NATS holds none of its instrument.
    folder: PathBuf,
    models: Mutex<Models>,
    cache: Mutex<Cache>,
    /// Held while one model is read and drawn: drawing takes a processor.
    turn: Semaphore,
    /// Set once NATS is connected.
    connection: OnceLock<Connection>,
}

impl Plots {
    /// Returns the plots of a system without models; `folder` is that of a run.
    pub(super) fn new(folder: PathBuf) -> Self {
        let (models, cache) = (Mutex::default(), Mutex::default());
        Self { folder, models, cache, turn: Semaphore::new(1), connection: OnceLock::new() }
    }

    fn models(&self) -> MutexGuard<'_, Models> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a file of the model that counts, drawn now unless it is kept; `None` without such a model.
    async fn file(&self, key: &PlotKey, name: FileName) -> Result<Option<File>, Failure> {
        let kept = |model: &str| self.cache().get(key, model, name, Instant::now());
        let Some(known) = self.models().current(key) else { return Ok(None) };
        if let Some(file) = kept(&known.model) {
            return Ok(Some(file));
        }
        let turn = timeout(TURN_MAX, self.turn.acquire()).await;
        let _turn = turn.map_err(|_| Failure::Busy)?.map_err(|_| Failure::Busy)?;
        if let Some(file) = kept(&known.model) {
            return Ok(Some(file));
        }
        let data = source::read(self, key, &known).await.map_err(Failure::Unread)?;
        let drawn = spawn_blocking(move || draw(&data, name)).await.context("drawing failed");
        let drawn = drawn.flatten().map_err(Failure::Unread)?;
        let mut cache = self.cache();
        for (name, bytes) in drawn {
            cache.insert(key, &known.model, name, bytes, Instant::now());
        }
        Ok(cache.get(key, &known.model, name, Instant::now()))
    }
}

/// Draws a file, and with a document all other documents of the model: a page shows them together.
fn draw(data: &ReportData, name: FileName) -> anyhow::Result<Vec<(FileName, Vec<u8>)>> {
    if let FileName::Plot(kind, ImageFormat::Png) = name {
        return Ok(vec![(name, data.subject.draw(kind, Format::Wide).to_png()?)]);
    }
    let pictures = PlotKind::ALL.into_iter().flat_map(|kind| {
        let svg = |format| data.subject.draw(kind, format).to_svg().into_bytes();
        let wide = (FileName::Plot(kind, ImageFormat::Svg), svg(Format::Wide));
        [wide, (FileName::Narrow(kind), svg(Format::Narrow))]
    });
    let report = (FileName::Report, page(data).into_bytes());
    Ok(pictures.chain([report]).collect())
}

/// The routes, with content security policies of their own.
pub(super) fn routes(plots: Arc<Plots>) -> Router {
    Router::new()
        .route("/plots/index.json", get(index))
        .route("/plots/{coin}/{quote}/{recipe}/{file}", get(plot))
        .route("/report/{coin}/{quote}/{file}", get(report))
        .with_state(plots)
}

async fn index(State(plots): State<Arc<Plots>>) -> Response {
    let kinds = PlotKind::ALL.map(PlotKind::name);
    let entry = |(key, known): (&PlotKey, &models::Known)| {
        let PlotKey { coin, quote, recipe } = key;
        json!({ "coin": coin, "quote": quote, "recipe": recipe, "model": known.model, "version": known.version, "kinds": kinds })
    };
    let entries: Vec<Value> = plots.models().all().map(entry).collect();
    with_policy(Json(json!({ "plots": entries })).into_response())
}

async fn plot(
    State(plots): State<Arc<Plots>>,
    Path((coin, quote, recipe, file)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let name = FileName::parse(&file);
    answer(&plots, (coin, quote, recipe), name, &headers).await
}

async fn report(
    State(plots): State<Arc<Plots>>,
    Path((coin, quote, file)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let recipe = file.strip_suffix(".html").unwrap_or_default().to_owned();
    answer(&plots, (coin, quote, recipe), Some(FileName::Report), &headers).await
}

async fn answer(
    plots: &Plots,
    (coin, quote, recipe): (String, String, String),
    name: Option<FileName>,
    headers: &HeaderMap,
) -> Response {
    let wanted = name.and_then(|name| Some((PlotKey { coin, quote, recipe: recipe.parse::<Recipe>().ok()? }, name)));
    let found = match wanted {
        Some((key, name)) => plots.file(&key, name).await.map(|file| file.zip(Some(name))),
        None => Ok(None),
    };
    let response = match found {
        Ok(Some((file, name))) => send(file, name, headers),
        Ok(None) => Failure::Unknown.into_response(),
        Err(failure) => failure.into_response(),
    };
    with_policy(response)
}

/// Answers with a file, or without it when the browser has it.
fn send(file: File, name: FileName, headers: &HeaderMap) -> Response {
    let mut response = if entity_tag::is_known(headers, &file.tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, name.media_type())], file.bytes).into_response()
    };
    response.headers_mut().insert(ETAG, file.tag);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy::of(name));
    response
}

fn with_policy(mut response: Response) -> Response {
    response.headers_mut().entry(CONTENT_SECURITY_POLICY).or_insert(policy::nothing());
    response
}

/// Reasons for no file.
#[derive(Debug)]
enum Failure {
    /// There is no such plot, or no model of the instrument yet.
    Unknown,
    /// Too many others are being drawn.
    Busy,
    /// The model cannot be read or drawn.
    Unread(anyhow::Error),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        Refused(match self {
            Self::Unknown => {
                let message = "no such plot, or no model of this instrument and recipe yet; /plots/index.json lists those that exist";
                QueryError::new(ErrorCode::NotFound, message)
            }
            Self::Busy => {
                QueryError::new(ErrorCode::Unavailable, "other plots are being drawn; try again in some seconds")
            }
            Self::Unread(error) => {
                tracing::warn!("no plot: {error:#}");
                let message = format!("the model cannot be read: {error}; try again in some seconds");
                QueryError::new(ErrorCode::Unavailable, message)
            }
        })
        .into_response()
    }
}
