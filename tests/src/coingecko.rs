//! Replica of the CoinGecko API on a free local port. It answers as the real API does (limits of plans, credits, caches,
//! charts whose points vary), by a clock that a test may set, and can be scripted to misbehave.
//!
//! By default it knows no plan: it limits nothing and takes any key. `scripted` has the answers of a script, `upstream`
//! the answers of the API, `trading` prices and charts, `plan` the limits.

mod plan;
mod scripted;
mod trading;
mod upstream;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Response, Uri, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::plan::Plan;
pub use self::scripted::ScriptedAnswer;
pub use self::trading::{ChartFault, price_at};
use self::upstream::{Request, UpstreamState};
use crate::programs::eventually;

/// Root of the API below the address.
const ROOT: &str = "/api/v3";

/// A running replica; it ends when dropped.
#[derive(Debug)]
pub struct CoinGecko {
    url: String,
    state: Arc<Mutex<UpstreamState>>,
    server: JoinHandle<()>,
}

/// A received request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Time of arrival.
    pub at: Instant,
    /// Path below the root of the API, such as `/coins/markets`.
    pub path: String,
    /// The requested coins.
    pub ids: Vec<String>,
    /// All parameters.
    pub parameters: BTreeMap<String, String>,
    /// The User-Agent header.
    pub user_agent: Option<String>,
    /// Status of the answer.
    pub status: u16,
}

/// A producer that polls the replica for these coins, without history and filling, as often as told.
pub fn polling(
    pipeline: &crate::test_pipeline::TestPipeline,
    source: &CoinGecko,
    coins: &str,
    interval: &str,
) -> Command {
    let mut command = filling(pipeline, source, coins, interval);
    command.args(["--history", "0", "--fill", "off"]);
    command
}

/// A producer that polls the replica for these coins as often as told, and fetches history and fills holes.
pub fn filling(
    pipeline: &crate::test_pipeline::TestPipeline,
    source: &CoinGecko,
    coins: &str,
    interval: &str,
) -> Command {
    let mut command = pipeline.program("producer");
    command.args(["run", "--source", "coingecko", "--coins", coins, "--interval", interval]);
    command.args(["--base-url", source.url()]);
    // The interval decides, also with a key.
    command.env("COINGECKO_CREDITS", "1000000000").env("COINGECKO_CALLS_PER_MINUTE", "100000");
    command
}

impl CoinGecko {
    /// Starts a replica that knows no coin.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{ROOT}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(UpstreamState::default()));
        let routes = Router::new().fallback(answer).with_state(state.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, state, server }
    }

    /// The value of `--base-url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Limits requests as this plan does, and asks for its key.
    pub fn subscribe(&self, plan: Plan) {
        self.state().plan = Some(plan);
    }

    /// Makes a coin trade: quotes and charts follow [`price_at`], by the replica's clock.
    pub fn trade(&self, coin: &str) {
        self.state().traded.insert(coin.to_owned());
    }

    /// Sets the replica's clock, which goes on from there.
    pub fn set_clock(&self, now_ms: i64) {
        self.state().set_clock(now_ms);
    }

    /// Stops the replica's clock at this time.
    pub fn stop_clock(&self, now_ms: i64) {
        self.state().stop_clock(now_ms);
    }

    /// The time by the replica's clock.
    pub fn now_ms(&self) -> i64 {
        self.state().now_ms()
    }

    /// Keeps each answer for as long as the real API does.
    pub fn cache(&self) {
        self.state().is_caching = true;
    }

    /// Makes charts faulty.
    pub fn spoil_charts(&self, faults: &[ChartFault]) {
        self.state().faults = faults.to_vec();
    }

    /// Sets the price of a coin in usd; `updated_ms` is its time of observation.
    pub fn set(&self, coin: &str, price: f64, updated_ms: i64) {
        self.set_raw(coin, trading::quote(coin, price, updated_ms));
    }

    /// Makes the source observe a coin at `updated_ms` and report it in answers dated `date_ms`, a whole second, from
    /// the next answer on.
    pub fn observe(&self, coin: &str, price: f64, updated_ms: i64, date_ms: i64) {
        let mut state = self.state();
        state.coins.insert(("usd".to_owned(), coin.to_owned()), trading::quote(coin, price, updated_ms));
        state.date = Some(UNIX_EPOCH + Duration::from_millis(date_ms.unsigned_abs()));
    }

    /// Sets the answer's element of a coin in usd as given.
    pub fn set_raw(&self, coin: &str, quote: Value) {
        self.state().coins.insert(("usd".to_owned(), coin.to_owned()), quote);
    }

    /// Changes one field of a coin in usd; `None` removes it.
    pub fn set_field(&self, coin: &str, field: &str, value: Option<Value>) {
        let mut state = self.state();
        let quote = state.coins.get_mut(&("usd".to_owned(), coin.to_owned())).expect("a coin that was set");
        let fields = quote.as_object_mut().expect("an object");
        match value {
            Some(value) => fields.insert(field.to_owned(), value),
            None => fields.remove(field),
        };
    }

    /// Removes a coin, as if it were renamed.
    pub fn remove(&self, coin: &str) {
        self.state().coins.remove(&("usd".to_owned(), coin.to_owned()));
    }

    /// Gives this answer once, to the next request but those for charts.
    pub fn say(&self, answer: ScriptedAnswer) {
        self.state().script.push_back(answer);
    }

    /// Gives this answer once, to the next request for a chart.
    pub fn say_to_chart(&self, answer: ScriptedAnswer) {
        self.state().chart_script.push_back(answer);
    }

    /// Gives this answer from now on; `None` restores the default answers.
    pub fn always_say(&self, answer: Option<ScriptedAnswer>) {
        self.state().stuck = answer;
    }

    /// Gives this answer to every request for a chart from now on; `None` restores the default answers.
    pub fn always_say_to_charts(&self, answer: Option<ScriptedAnswer>) {
        self.state().stuck_charts = answer;
    }

    /// Answers 401 to requests without this key.
    pub fn require_key(&self, key: &str) {
        self.state().key = Some(key.to_owned());
    }

    /// Sets the time of the Date header.
    pub fn set_date(&self, date: SystemTime) {
        self.state().date = Some(date);
    }

    /// Status and body of the answer to a request of a client that names itself, without the network.
    pub fn ask(&self, path: &str) -> (u16, Value) {
        let uri: Uri = path.parse().unwrap();
        let Query(parameters) = Query::try_from_uri(&uri).unwrap();
        let headers = HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static("test"))]);
        let answer = self.state().answer(&Request { path: uri.path(), parameters: &parameters, headers: &headers });
        let text = String::from_utf8(answer.body).unwrap();
        (answer.status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Waits until this many more requests for prices have been answered.
    pub fn wait_for_polls(&self, more: usize) {
        let before = self.polls();
        eventually("the producer polls", || self.polls() >= before + more);
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// Requests for charts so far.
    pub fn charts(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path.contains("/market_chart")).collect()
    }

    /// Prices that were served so far, each once: coin, time of observation, and price.
    pub fn served(&self) -> Vec<(String, i64, f64)> {
        self.state().served.clone()
    }

    fn polls(&self) -> usize {
        self.state().seen.iter().filter(|seen| seen.path == "/coins/markets").count()
    }

    fn state(&self) -> MutexGuard<'_, UpstreamState> {
        self.state.lock().unwrap()
    }
}

impl Drop for CoinGecko {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(state): State<Arc<Mutex<UpstreamState>>>,
    uri: Uri,
    Query(parameters): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let accepts_gzip = text(&headers, "accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
    let path = uri.path().strip_prefix(ROOT).unwrap_or(uri.path()).to_owned();
    let (answer, date) = {
        let mut state = state.lock().unwrap();
        let ids = parameters.get("ids").map(|ids| ids.split(',').map(str::to_owned).collect()).unwrap_or_default();
        let user_agent = text(&headers, "user-agent");
        let answer = state.answer(&Request { path: &path, parameters: &parameters, headers: &headers });
        let status = answer.status;
        state.seen.push(Seen { at: Instant::now(), path, ids, parameters, user_agent, status });
        (answer, state.date())
    };
    tokio::time::sleep(answer.delay).await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    if let Some(date) = date {
        response = response.header(header::DATE, httpdate::fmt_http_date(date));
    }
    if accepts_gzip && !answer.is_packed() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&answer.body).unwrap();
        let body = encoder.finish().unwrap();
        response.header(header::CONTENT_ENCODING, "gzip").body(Body::from(body)).unwrap()
    } else {
        response.body(Body::from(answer.body)).unwrap()
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().unwrap().to_owned())
}
