//! Mock of the CoinGecko API on a free local port. It answers as the real API does, and can be scripted to misbehave.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Response, header};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use market::EventTime;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::programs::eventually;

/// Known currencies.
const CURRENCIES: [&str; 3] = ["usd", "eur", "btc"];

/// A running mock; it ends when dropped.
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
    /// The requested coins.
    pub ids: Vec<String>,
    /// All parameters.
    pub parameters: BTreeMap<String, String>,
    /// The User-Agent header.
    pub user_agent: Option<String>,
}

/// A scripted answer.
#[derive(Debug, Clone)]
pub struct ScriptedAnswer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    delay: Duration,
}

impl ScriptedAnswer {
    /// An answer with this status and body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        Self { status, headers, body: body.into(), delay: Duration::ZERO }
    }

    /// The rate-limit answer, with the real body.
    pub fn rate_limited(retry_after: &str) -> Self {
        let words =
            "You've exceeded the Rate Limit. Please visit https://www.coingecko.com/en/api/pricing to subscribe.";
        let body = json!({"status": {"error_code": 429, "error_message": words}});
        Self::new(429, body.to_string()).with_header("retry-after", retry_after)
    }

    /// A compressed page of this many entries that name no coin, 8 bytes each: small on the wire, large when
    /// decompressed, and larger when parsed.
    pub fn bomb(entries: usize) -> Self {
        let page = format!("[{}{{\"a\":0}}]", "{\"a\":0},".repeat(entries - 1));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(page.as_bytes()).unwrap();
        Self::new(200, encoder.finish().unwrap()).with_header("content-encoding", "gzip")
    }

    /// Length of the body as sent, if it is compressed already.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// An HTML page of the network edge.
    pub fn html(status: u16, page: &str) -> Self {
        Self::new(status, page).with_header("content-type", "text/html; charset=UTF-8")
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::html(status, "<html>moved").with_header("location", location)
    }

    fn is_packed(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == "content-encoding")
    }

    /// Adds or replaces a header.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Delays the answer.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

#[derive(Debug, Default)]
struct UpstreamState {
    /// Quotes by currency and coin.
    coins: BTreeMap<(String, String), Value>,
    /// Answers to be sent before the default ones.
    script: VecDeque<ScriptedAnswer>,
    /// The answer to every request, in place of the default one.
    stuck: Option<ScriptedAnswer>,
    key: Option<String>,
    /// Time of the Date header; the current time by default.
    date: Option<SystemTime>,
    seen: Vec<Seen>,
}

/// A producer that polls the mock for these coins.
pub fn polling(
    pipeline: &crate::test_pipeline::TestPipeline,
    source: &CoinGecko,
    coins: &str,
    interval: &str,
) -> Command {
    let mut command = pipeline.program("producer");
    command.args(["run", "--source", "coingecko", "--coins", coins, "--interval", interval]);
    command.args(["--base-url", source.url()]);
    command
}

impl CoinGecko {
    /// Starts a mock that knows no coin.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v3", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(UpstreamState::default()));
        let routes = Router::new().route("/api/v3/coins/markets", get(markets)).with_state(state.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, state, server }
    }

    /// The value of `--base-url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sets the price of a coin in usd; `updated_ms` is its time of observation.
    pub fn set(&self, coin: &str, price: f64, updated_ms: i64) {
        self.set_raw(coin, quote(coin, price, updated_ms));
    }

    /// Makes the source observe a coin at `updated_ms` and report it in answers dated `date_ms`, a whole second, from
    /// the next answer on.
    pub fn observe(&self, coin: &str, price: f64, updated_ms: i64, date_ms: i64) {
        let mut state = self.state();
        state.coins.insert(("usd".to_owned(), coin.to_owned()), quote(coin, price, updated_ms));
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

    /// Gives this answer once, before any other.
    pub fn say(&self, answer: ScriptedAnswer) {
        self.state().script.push_back(answer);
    }

    /// Gives this answer from now on; `None` restores the default answers.
    pub fn always_say(&self, answer: Option<ScriptedAnswer>) {
        self.state().stuck = answer;
    }

    /// Answers 401 to requests without this demo key.
    pub fn require_key(&self, key: &str) {
        self.state().key = Some(key.to_owned());
    }

    /// Sets the time of the Date header.
    pub fn set_date(&self, date: SystemTime) {
        self.state().date = Some(date);
    }

    /// Waits until this many more requests have been answered.
    pub fn wait_for_polls(&self, more: usize) {
        let before = self.seen().len();
        eventually("the producer polls", || self.seen().len() >= before + more);
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
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

/// An element of the answer with all fields of a real one.
fn quote(coin: &str, price: f64, updated_ms: i64) -> Value {
    let updated = EventTime(updated_ms).to_utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    json!({
        "id": coin, "symbol": &coin[..3], "name": coin, "current_price": price, "market_cap": price * 1e7,
        "market_cap_rank": 1, "total_volume": price * 1e5, "high_24h": price * 1.01, "low_24h": price * 0.99,
        "price_change_24h": -747.3360347281705, "circulating_supply": 20030493.0, "max_supply": 21000000.0,
        "ath_date": "2025-10-06T18:57:42.558Z", "roi": null, "last_updated": updated,
    })
}

async fn markets(
    State(state): State<Arc<Mutex<UpstreamState>>>,
    Query(parameters): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response<Body> {
    let accepts_gzip = text(&headers, "accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
    let (answer, date) = {
        let mut state = state.lock().unwrap();
        let ids = parameters.get("ids").map(|ids| ids.split(',').map(str::to_owned).collect()).unwrap_or_default();
        let user_agent = text(&headers, "user-agent");
        state.seen.push(Seen { at: Instant::now(), ids, parameters: parameters.clone(), user_agent });
        (state.answer(&parameters, &headers), state.date)
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

impl UpstreamState {
    fn answer(&mut self, parameters: &BTreeMap<String, String>, headers: &HeaderMap) -> ScriptedAnswer {
        if let Some(answer) = self.script.pop_front().or_else(|| self.stuck.clone()) {
            return answer;
        }
        if text(headers, "user-agent").is_none() {
            let words = "Please add a descriptive User-Agent to your request";
            return ScriptedAnswer::new(
                403,
                json!({"status": {"error_code": 403, "error_message": words}}).to_string(),
            );
        }
        if self.key.is_some() && text(headers, "x-cg-demo-api-key") != self.key {
            let status = json!({"error_code": 10002, "error_message": "API Key Missing. Please make sure you're using the right authentication method."});
            return ScriptedAnswer::new(401, json!({ "status": status }).to_string());
        }
        match parameters.get("vs_currency") {
            None => ScriptedAnswer::new(422, json!({"error": "Missing parameter vs_currency"}).to_string()),
            Some(currency) if !CURRENCIES.contains(&currency.as_str()) => {
                ScriptedAnswer::new(400, json!({"error": "invalid vs_currency"}).to_string())
            }
            Some(currency) => ScriptedAnswer::new(200, Value::Array(self.page(currency, parameters)).to_string()),
        }
    }

    /// The known among the requested coins, in the API's own order, on the requested page.
    fn page(&self, currency: &str, parameters: &BTreeMap<String, String>) -> Vec<Value> {
        let number = |name: &str, default: usize| parameters.get(name).map_or(default, |text| text.parse().unwrap());
        let per_page = number("per_page", 100).clamp(1, 250);
        let ids: Vec<&str> = parameters.get("ids").map(|ids| ids.split(',').collect()).unwrap_or_default();
        let is_full = parameters.get("precision").is_some_and(|precision| precision == "full");
        let known =
            self.coins.iter().rev().filter(|((known, coin), _)| known == currency && ids.contains(&coin.as_str()));
        let page = known.skip((number("page", 1) - 1) * per_page).take(per_page);
        page.map(|(_, quote)| if is_full { quote.clone() } else { rounded(quote.clone()) }).collect()
    }
}

/// Without `precision=full` large prices come as integers.
fn rounded(mut quote: Value) -> Value {
    if let Some(price) = quote["current_price"].as_f64().filter(|price| *price > 1_000.0) {
        quote["current_price"] = json!(price.round() as i64);
    }
    quote
}
