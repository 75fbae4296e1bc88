//! HTTP client of CoinGecko: one request at a time, bounded in time and size, without the key in any message.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use market::{EventTime, Instrument};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use reqwest::{Response, Url, redirect};
use rustls::crypto::CryptoProvider;

use super::answer::{Class, HttpAnswer, Refusal};
use super::chart::{self, Chart};
use super::chart_request::ChartRequest;
use super::config::Api;
use super::json::Misfit;
use super::key::{ApiKey, excerpt};
use super::markets::{self, Quote};
use super::usage::{self, Usage};
use crate::clock::now_ms;

const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Time from the request to the last byte, at most.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Bytes of an answer besides its coins, at most: more than any error page.
const BODY_BYTES_MIN: usize = 64 * 1024;
/// Bytes of an answer per requested coin, at most: four times the usual size.
const COIN_BYTES_MAX: usize = 4 * 1024;
/// User agent. CoinGecko answers 403 to a request without one.
const USER_AGENT: &str = concat!("candlewire/", env!("CARGO_PKG_VERSION"));

/// Bytes of a chart, at most: four times that of 90 days of hourly points.
const CHART_BYTES_MAX: usize = 1024 * 1024;

/// Client of one host with one key.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// Root URL, with a slash at its end.
    base: Url,
    key: Option<ApiKey>,
}

/// The quotes of the requested coins.
#[derive(Debug)]
pub(crate) struct List {
    /// Quotes by coin.
    pub(crate) quotes: HashMap<String, Quote>,
    /// Date of the answer, by the source's clock.
    pub(crate) date: Option<EventTime>,
}

impl Client {
    /// Creates a client. It sends no request yet.
    ///
    /// # Errors
    /// The base URL is not valid, or the key cannot be a header value.
    pub(crate) fn new(api: &Api) -> anyhow::Result<Self> {
        if CryptoProvider::get_default().is_none() {
            // Another thread may have installed a provider meanwhile, which serves as well.
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        let base = Url::parse(&format!("{}/", api.base_url));
        let base = base.with_context(|| format!("--base-url {:?} is not a URL", api.base_url))?;
        anyhow::ensure!(
            matches!(base.scheme(), "http" | "https"),
            "--base-url {:?} is neither http nor https",
            api.base_url
        );
        let mut headers = HeaderMap::new();
        if let Some(key) = &api.key {
            let value = key.to_header().context("COINGECKO_API_KEY holds characters that no key has")?;
            headers.insert(api.plan.key_header(), value);
        }
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(headers)
            .connect_timeout(CONNECT_MAX)
            .timeout(ANSWER_MAX)
            .gzip(true)
            // A redirect to another host would send the key there.
            .redirect(redirect::Policy::none())
            .build()
            .context("cannot set up HTTPS: are the certificates of this system installed (ca-certificates)?")?;
        Ok(Self { http, base, key: api.key.clone() })
    }

    /// Requests the quotes of these coins, at most [`COINS_MAX`](super::config::COINS_MAX).
    ///
    /// # Errors
    /// CoinGecko gives another answer or none.
    pub(crate) async fn markets(&self, quote: &str, coins: &[&str]) -> Result<List, Refusal> {
        let (ids, per_page) = (coins.join(","), coins.len().to_string());
        let parameters =
            [("vs_currency", quote), ("ids", &ids), ("per_page", &per_page), ("page", "1"), ("precision", "full")];
        let bytes_max = BODY_BYTES_MIN + coins.len() * COIN_BYTES_MAX;
        let parse = |page: &str| markets::quotes(page, coins.len());
        let (quotes, date) = self.get(&["coins", "markets"], &parameters, bytes_max, parse).await?;
        Ok(List { quotes, date })
    }

    /// Requests past prices of a coin.
    ///
    /// # Errors
    /// CoinGecko gives another answer or none.
    pub(crate) async fn chart(&self, instrument: &Instrument, request: ChartRequest) -> Result<Chart, Refusal> {
        let (coin, quote) = (instrument.coin(), instrument.quote());
        let both = [("vs_currency", quote), ("precision", "full")];
        let (chart, _) = match request {
            ChartRequest::Days(days) => {
                let days = days.to_string();
                let parameters = [both[0], both[1], ("days", &days)];
                self.get(&["coins", coin, "market_chart"], &parameters, CHART_BYTES_MAX, chart::chart).await?
            }
            ChartRequest::Range { from_s, to_s } => {
                let (from, to) = (from_s.to_string(), to_s.to_string());
                let parameters = [both[0], both[1], ("from", &from), ("to", &to)];
                self.get(&["coins", coin, "market_chart", "range"], &parameters, CHART_BYTES_MAX, chart::chart).await?
            }
        };
        Ok(chart)
    }

    /// Requests limits and spent credits of a paid plan.
    ///
    /// # Errors
    /// CoinGecko gives another answer or none.
    pub(crate) async fn usage(&self) -> Result<Usage, Refusal> {
        Ok(self.get(&["key"], &[], BODY_BYTES_MIN, usage::usage).await?.0)
    }

    /// Sends a request, and parses the answer and its date by the source's clock.
    async fn get<T>(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
        bytes_max: usize,
        parse: impl FnOnce(&str) -> Result<T, Misfit>,
    ) -> Result<(T, Option<EventTime>), Refusal> {
        let mut url = self.base.clone();
        // A URL with a host has a path.
        url.path_segments_mut().ok().iter_mut().for_each(|segments| {
            segments.pop_if_empty().extend(path);
        });
        let request = self.http.get(url).query(parameters);
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let date = header(&response, &DATE).and_then(|date| httpdate::parse_http_date(&date).ok());
        let answer = read(response, bytes_max).await.map_err(|error| self.failed(&error))?;
        let parsed = answer.parse(self.key.as_ref(), SystemTime::now(), parse)?;
        Ok((parsed, date.map(|date| EventTime(now_ms(date)))))
    }

    /// Converts a failed or incomplete answer to a refusal.
    fn failed(&self, error: &reqwest::Error) -> Refusal {
        let class = if error.is_connect() || error.is_timeout() { Class::Unreachable } else { Class::Upstream };
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let detail = if error.is_timeout() {
            format!("nothing within {} s", ANSWER_MAX.as_secs())
        } else {
            excerpt(&cause.to_string(), self.key.as_ref())
        };
        Refusal {
            class,
            status: error.status().map(|status| status.as_u16()),
            code: None,
            detail,
            is_named: false,
            retry_after: None,
        }
    }
}

/// Reads an answer, at most `bytes_max` of its body.
async fn read(mut response: Response, bytes_max: usize) -> Result<HttpAnswer, reqwest::Error> {
    let status = response.status().as_u16();
    let content_type = header(&response, &CONTENT_TYPE);
    let retry_after = header(&response, &RETRY_AFTER);
    let redirected_to = redirected_to(&response);
    let (mut body, mut is_cut) = (Vec::new(), false);
    while !is_cut && let Some(chunk) = response.chunk().await? {
        let room = bytes_max - body.len();
        is_cut = chunk.len() > room;
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(HttpAnswer { status, content_type, retry_after, redirected_to, body, is_cut })
}

/// Returns the host of a redirect. Path and parameters are left out, because they may hold secrets.
fn redirected_to(response: &Response) -> Option<String> {
    let location = header(response, &LOCATION).filter(|_| response.status().is_redirection())?;
    let host = response.url().join(&location).ok().and_then(|url| {
        let host = url.host_str()?;
        Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    });
    Some(host.unwrap_or_else(|| "an unreadable address".to_owned()))
}

fn header(response: &Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}
