//! The HTTP side: one request, within limits, and never a word of the key.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use market::EventTime;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Response, Url, redirect};
use rustls::crypto::CryptoProvider;
use serde_json::Value;

use super::Api;
use super::answer::{Answer, Class, Refusal};
use crate::clock::now_ms;

const CONNECT_MAX: Duration = Duration::from_secs(5);
/// From the request to the last byte.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// 250 coins take some 250 kB.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// CoinGecko answers 403 to whoever does not say who asks.
const USER_AGENT: &str = concat!("candlewire/", env!("CARGO_PKG_VERSION"));
const DEMO_KEY_HEADER: HeaderName = HeaderName::from_static("x-cg-demo-api-key");

/// A key. Never shown, not even for debugging.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Whether there is nothing in it, as in an environment variable that is set to nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for ApiKey {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

/// Asks one host with one key.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    markets: Url,
    key: Option<ApiKey>,
}

/// A list that CoinGecko answered with.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) coins: Vec<Value>,
    /// When it was sent, by the source's clock.
    pub(crate) date: Option<EventTime>,
}

impl Client {
    /// Prepares requests; asks nothing yet.
    ///
    /// # Errors
    /// A base URL that is none, or a key that no header can carry.
    pub(crate) fn new(api: &Api) -> anyhow::Result<Self> {
        if CryptoProvider::get_default().is_none() {
            // Somebody else may have been faster: then theirs is as good.
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        let markets = format!("{}/coins/markets", api.base_url);
        let markets = Url::parse(&markets).with_context(|| format!("--base-url {:?} is not a URL", api.base_url))?;
        anyhow::ensure!(
            matches!(markets.scheme(), "http" | "https"),
            "--base-url {:?} is neither http nor https",
            api.base_url
        );
        let mut headers = HeaderMap::new();
        if let Some(key) = &api.key {
            let mut value =
                HeaderValue::from_str(&key.0).ok().context("COINGECKO_API_KEY holds characters that no key has")?;
            value.set_sensitive(true);
            headers.insert(DEMO_KEY_HEADER, value);
        }
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(headers)
            .connect_timeout(CONNECT_MAX)
            .timeout(ANSWER_MAX)
            .gzip(true)
            // A redirect to another host would take the key along.
            .redirect(redirect::Policy::none())
            .build()
            .context("cannot set up HTTPS: are the certificates of this system installed (ca-certificates)?")?;
        Ok(Self { http, markets, key: api.key.clone() })
    }

    /// What CoinGecko says of these coins, at most [`super::COINS_MAX`].
    ///
    /// # Errors
    /// Whatever else it says, or that it says nothing.
    pub(crate) async fn markets(&self, quote: &str, coins: &[&str]) -> Result<List, Refusal> {
        let (ids, per_page) = (coins.join(","), coins.len().to_string());
        let parameters =
            [("vs_currency", quote), ("ids", &ids), ("per_page", &per_page), ("page", "1"), ("precision", "full")];
        let request = self.http.get(self.markets.clone()).query(&parameters);
        let response = request.send().await.map_err(|error| failed(&error))?;
        let date = header(&response, &DATE).and_then(|date| httpdate::parse_http_date(&date).ok());
        let answer = read(response).await?;
        let coins = answer.list(SystemTime::now()).map_err(|refusal| self.without_key(refusal))?;
        Ok(List { coins, date: date.map(|date| EventTime(now_ms(date))) })
    }

    /// A source, or whoever stands before it, may repeat what it was sent.
    fn without_key(&self, refusal: Refusal) -> Refusal {
        match &self.key {
            Some(ApiKey(key)) => Refusal { detail: refusal.detail.replace(key, "(key)"), ..refusal },
            None => refusal,
        }
    }
}

async fn read(mut response: Response) -> Result<Answer, Refusal> {
    let status = response.status().as_u16();
    let content_type = header(&response, &CONTENT_TYPE);
    let retry_after = header(&response, &RETRY_AFTER);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            let detail = format!("more than {BODY_BYTES_MAX} bytes");
            return Err(Refusal {
                class: Class::Upstream,
                status: Some(status),
                code: None,
                detail,
                retry_after: None,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, content_type, retry_after, body })
}

fn header(response: &Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// No answer, or half of one.
fn failed(error: &reqwest::Error) -> Refusal {
    let class = if error.is_connect() || error.is_timeout() { Class::Unreachable } else { Class::Upstream };
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let detail =
        if error.is_timeout() { format!("nothing within {} s", ANSWER_MAX.as_secs()) } else { cause.to_string() };
    Refusal { class, status: error.status().map(|status| status.as_u16()), code: None, detail, retry_after: None }
}
