//! Answers of the replica, as those of the real API.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use market::Span;
use serde_json::{Value, json};

use super::plan::{Plan, Usage};
use super::scripted::ScriptedAnswer;
use super::trading::{self, ChartFault};
use super::{Seen, text};

/// Known currencies.
const CURRENCIES: [&str; 3] = ["usd", "eur", "btc"];
/// Lengths of candles that may be asked for, in days.
const OHLC_DAYS: [i64; 7] = [1, 7, 14, 30, 90, 180, 365];

/// A request.
pub(super) struct Request<'a> {
    /// Path below the root of the API.
    pub(super) path: &'a str,
    pub(super) parameters: &'a BTreeMap<String, String>,
    pub(super) headers: &'a HeaderMap,
}

#[derive(Debug, Default)]
pub(super) struct UpstreamState {
    /// Quotes by currency and coin.
    pub(super) coins: BTreeMap<(String, String), Value>,
    /// Coins whose prices follow a function.
    pub(super) traded: BTreeSet<String>,
    /// Answers to be sent before the default ones.
    pub(super) script: VecDeque<ScriptedAnswer>,
    pub(super) chart_script: VecDeque<ScriptedAnswer>,
    /// The answer to every request, in place of the default one.
    pub(super) stuck: Option<ScriptedAnswer>,
    pub(super) stuck_charts: Option<ScriptedAnswer>,
    pub(super) key: Option<String>,
    pub(super) plan: Option<Plan>,
    usage: Usage,
    /// Time of the Date header; that of the clock by default.
    pub(super) date: Option<SystemTime>,
    clock: Clock,
    pub(super) is_caching: bool,
    /// Answers with the time at which they were made.
    cache: BTreeMap<String, (i64, ScriptedAnswer)>,
    pub(super) faults: Vec<ChartFault>,
    pub(super) seen: Vec<Seen>,
    /// Served prices, each once.
    pub(super) served: Vec<(String, i64, f64)>,
}

/// The replica's clock.
#[derive(Debug, Default)]
enum Clock {
    #[default]
    Real,
    /// Ahead of the real clock by this much.
    Ahead(i64),
    Stopped(i64),
}

impl UpstreamState {
    pub(super) fn set_clock(&mut self, now_ms: i64) {
        self.clock = Clock::Ahead(now_ms - real_ms());
    }

    pub(super) fn stop_clock(&mut self, now_ms: i64) {
        self.clock = Clock::Stopped(now_ms);
    }

    pub(super) fn now_ms(&self) -> i64 {
        match self.clock {
            Clock::Real => real_ms(),
            Clock::Ahead(ms) => real_ms() + ms,
            Clock::Stopped(ms) => ms,
        }
    }

    /// The time of the Date header, if it differs from the server's own.
    pub(super) fn date(&self) -> Option<SystemTime> {
        let of_clock = || match self.clock {
            Clock::Real => None,
            Clock::Ahead(_) | Clock::Stopped(_) => {
                Some(UNIX_EPOCH + Duration::from_millis(self.now_ms().unsigned_abs()))
            }
        };
        self.date.or_else(of_clock)
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, request: &Request<'_>) -> ScriptedAnswer {
        let is_chart = request.path.contains("/market_chart");
        let (script, stuck) = match is_chart {
            true => (&mut self.chart_script, &self.stuck_charts),
            false => (&mut self.script, &None),
        };
        if let Some(answer) = script.pop_front().or_else(|| stuck.clone()).or_else(|| self.stuck.clone()) {
            return answer;
        }
        if let Some(refusal) = self.refuse(request) {
            return refusal;
        }
        let answer = self.cached(request);
        if request.path == "/coins/markets" && answer.status == 200 {
            self.note_served(&answer);
        }
        answer
    }

    /// Refuses a request before its parameters matter.
    fn refuse(&mut self, request: &Request<'_>) -> Option<ScriptedAnswer> {
        if text(request.headers, "user-agent").is_none() {
            let words = "Please add a descriptive User-Agent to your request";
            return Some(ScriptedAnswer::error(403, 403, words));
        }
        let plan = self.plan.unwrap_or(Plan::Demo);
        let (header, other) = plan.headers();
        if self.plan.is_some() && text(request.headers, other).is_some() {
            return Some(plan.wrong_host());
        }
        if self.key.is_some() && text(request.headers, header) != self.key {
            let words = "API Key Missing. Please make sure you're using the right authentication method.";
            return Some(ScriptedAnswer::error(401, 10_002, words));
        }
        let now_ms = self.now_ms();
        self.usage.count(self.plan?, now_ms)
    }

    /// The answer of the cache, as long as it is fresh.
    fn cached(&mut self, request: &Request<'_>) -> ScriptedAnswer {
        let lifetime = match request.path {
            "/coins/markets" => Span::MINUTE,
            path if path.contains("/market_chart") => Span::minutes(5),
            path if path.ends_with("/ohlc") => Span::minutes(15),
            _ => Span(0),
        };
        let (key, now_ms) = (format!("{}?{:?}", request.path, request.parameters), self.now_ms());
        let kept = self.cache.get(&key).filter(|(made_ms, _)| self.is_caching && now_ms - made_ms < lifetime.ms());
        if let Some((made_ms, answer)) = kept {
            return answer.clone().with_header("age", &((now_ms - made_ms) / 1_000).to_string());
        }
        let answer = self.fresh(request, now_ms);
        if self.is_caching && answer.status == 200 {
            self.cache.insert(key, (now_ms, answer.clone()));
        }
        answer
    }

    fn fresh(&self, request: &Request<'_>, now_ms: i64) -> ScriptedAnswer {
        let parts: Vec<&str> = request.path.split('/').skip(1).collect();
        match parts[..] {
            ["ping"] => ScriptedAnswer::json(200, &json!({"gecko_says": "(V3) To the Moon!"})),
            ["key"] => self.key_usage(),
            ["coins", "markets"] => self.markets(request, now_ms),
            ["coins", coin, "market_chart"] => self.market_chart(coin, request, now_ms),
            ["coins", coin, "market_chart", "range"] => self.range(coin, request, now_ms),
            ["coins", coin, "ohlc"] => self.ohlc(coin, request, now_ms),
            _ => ScriptedAnswer::json(
                404,
                &json!({"error": "Incorrect path. Please check https://www.coingecko.com/api/"}),
            ),
        }
    }

    /// Limits and usage of the key, for paid plans.
    fn key_usage(&self) -> ScriptedAnswer {
        if self.plan != Some(Plan::Pro) {
            return ScriptedAnswer::error(401, 10_005, "This request is limited to PRO API subscribers.");
        }
        let (per_minute, credits, spent) = (Plan::Pro.per_minute(), Plan::Pro.credits(), self.usage.of_month());
        ScriptedAnswer::json(
            200,
            &json!({
                "plan": "Analyst", "rate_limit_request_per_minute": per_minute, "monthly_call_credit": credits,
                "current_total_monthly_calls": spent, "current_remaining_monthly_calls": credits - spent,
                "api_key_rate_limit_request_per_minute": per_minute, "api_key_monthly_call_credit": credits,
                "api_key_current_total_monthly_calls": spent, "api_key_current_remaining_monthly_calls": credits - spent,
            }),
        )
    }

    fn markets(&self, request: &Request<'_>, now_ms: i64) -> ScriptedAnswer {
        match currency(request) {
            Ok(currency) => ScriptedAnswer::json(200, &self.page(currency, request.parameters, now_ms).into()),
            Err(refusal) => refusal,
        }
    }

    /// The known among the requested coins, in the API's own order, on the requested page.
    fn page(&self, currency: &str, parameters: &BTreeMap<String, String>, now_ms: i64) -> Vec<Value> {
        let number = |name: &str, default: usize| parameters.get(name).map_or(default, |text| text.parse().unwrap());
        let per_page = number("per_page", 100).clamp(1, 250);
        let ids: Vec<&str> = parameters.get("ids").map(|ids| ids.split(',').collect()).unwrap_or_default();
        let is_full = parameters.get("precision").is_some_and(|precision| precision == "full");
        let update = self.plan.unwrap_or(Plan::Demo).update();
        let set =
            self.coins.iter().rev().filter(|((known, coin), _)| known == currency && ids.contains(&coin.as_str()));
        let traded = self.traded.iter().filter(|coin| currency == "usd" && ids.contains(&coin.as_str()));
        let traded = traded.map(|coin| trading::traded(coin, now_ms, update));
        let all = set.map(|(_, quote)| quote.clone()).chain(traded);
        let page = all.skip((number("page", 1) - 1) * per_page).take(per_page);
        page.map(|quote| if is_full { quote } else { rounded(quote) }).collect()
    }

    fn market_chart(&self, coin: &str, request: &Request<'_>, now_ms: i64) -> ScriptedAnswer {
        if let Err(refusal) = currency(request) {
            return refusal;
        }
        let Some(days) = request.parameters.get("days") else {
            return ScriptedAnswer::json(422, &json!({"error": "Missing parameter days"}));
        };
        match days.parse::<i64>() {
            Ok(days) if days > 0 => self.chart(coin, now_ms - days * Span::DAY.ms(), now_ms, now_ms),
            _ if days == "max" => self.chart(coin, 0, now_ms, now_ms),
            _ => ScriptedAnswer::json(400, &json!({"error": "Invalid days parameter"})),
        }
    }

    fn range(&self, coin: &str, request: &Request<'_>, now_ms: i64) -> ScriptedAnswer {
        if let Err(refusal) = currency(request) {
            return refusal;
        }
        // Dates and intervals are for paid plans.
        let is_paid = self.plan == Some(Plan::Pro);
        if request.parameters.contains_key("interval") && !is_paid {
            return ScriptedAnswer::error(401, 10_005, "This request is limited to PRO API subscribers.");
        }
        let second = |name: &str| request.parameters.get(name).map(|text| text.parse::<i64>());
        match (second("from"), second("to")) {
            (Some(Ok(from)), Some(Ok(to))) if from < to => self.chart(coin, from * 1_000, to * 1_000, now_ms),
            (None, _) => ScriptedAnswer::json(422, &json!({"error": "Missing parameter from"})),
            (_, None) => ScriptedAnswer::json(422, &json!({"error": "Missing parameter to"})),
            _ => ScriptedAnswer::json(400, &json!({"error": "invalid date range"})),
        }
    }

    fn chart(&self, coin: &str, from_ms: i64, to_ms: i64, now_ms: i64) -> ScriptedAnswer {
        let depth = self.plan.unwrap_or(Plan::Demo).depth();
        // Some seconds are granted.
        if now_ms - from_ms > depth.ms() + 60_000 {
            let words = "Your request exceeds the allowed time range. Public API users are limited to querying historical \
                         data within the past 365 days.";
            let body = json!({"error": {"status": {"timestamp": "x", "error_code": 10_012, "error_message": words}}});
            return ScriptedAnswer::json(401, &body);
        }
        if !self.traded.contains(coin) && !self.coins.keys().any(|(_, known)| known == coin) {
            return ScriptedAnswer::json(404, &json!({"error": "coin not found"}));
        }
        ScriptedAnswer::json(200, &trading::chart(coin, from_ms, to_ms, now_ms, &self.faults))
    }

    fn ohlc(&self, coin: &str, request: &Request<'_>, now_ms: i64) -> ScriptedAnswer {
        if let Err(refusal) = currency(request) {
            return refusal;
        }
        let days = request.parameters.get("days").and_then(|days| days.parse::<i64>().ok());
        match days.filter(|days| OHLC_DAYS.contains(days)) {
            Some(days) => ScriptedAnswer::json(200, &trading::ohlc(coin, days, now_ms)),
            None => ScriptedAnswer::json(400, &json!({"error": "Invalid days parameter"})),
        }
    }

    /// Notes prices that were not served before.
    fn note_served(&mut self, answer: &ScriptedAnswer) {
        let page: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        for quote in page.as_array().into_iter().flatten() {
            let updated =
                quote["last_updated"].as_str().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
            let (Some(coin), Some(updated), Some(price)) =
                (quote["id"].as_str(), updated, quote["current_price"].as_f64())
            else {
                continue;
            };
            let served = (coin.to_owned(), updated.timestamp_millis(), price);
            let last = self.served.iter().rev().find(|(known, ..)| known == coin);
            if last.is_none_or(|(_, before, _)| *before < served.1) {
                self.served.push(served);
            }
        }
    }
}

/// The currency of a request.
fn currency<'a>(request: &Request<'a>) -> Result<&'a str, ScriptedAnswer> {
    match request.parameters.get("vs_currency") {
        None => Err(ScriptedAnswer::json(422, &json!({"error": "Missing parameter vs_currency"}))),
        Some(currency) if !CURRENCIES.contains(&currency.as_str()) => {
            Err(ScriptedAnswer::json(400, &json!({"error": "invalid vs_currency"})))
        }
        Some(currency) => Ok(currency),
    }
}

/// Without `precision=full` large prices come as integers.
fn rounded(mut quote: Value) -> Value {
    if let Some(price) = quote["current_price"].as_f64().filter(|price| *price > 1_000.0) {
        quote["current_price"] = json!(price.round() as i64);
    }
    quote
}

fn real_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}
