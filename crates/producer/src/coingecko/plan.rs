//! Plans at CoinGecko: host, header of the key, and limits.
//!
//! The figures are those of CoinGecko's pages and specification of June 2026. Where two pages differ, the lower one is
//! here.

use market::Span;
use reqwest::header::HeaderName;

use super::budget::Limits;

/// Root URL of the API for plans without a key and with a free one.
pub const PUBLIC_URL: &str = "https://api.coingecko.com/api/v3";
/// Root URL of the API for paid plans.
pub const PRO_URL: &str = "https://pro-api.coingecko.com/api/v3";

/// Plan at CoinGecko.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ApiPlan {
    /// Without a key, with few requests
    Keyless,
    /// With a free key
    Demo,
    /// With a paid key
    Pro,
}

impl ApiPlan {
    /// Returns the plan's name, as in `COINGECKO_PLAN`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyless => "keyless",
            Self::Demo => "demo",
            Self::Pro => "pro",
        }
    }

    /// Returns the root URL of the API. A key of one plan is refused at the other URL.
    pub fn url(self) -> &'static str {
        match self {
            Self::Keyless | Self::Demo => PUBLIC_URL,
            Self::Pro => PRO_URL,
        }
    }

    /// Returns the header that carries the key.
    pub(crate) fn key_header(self) -> HeaderName {
        match self {
            Self::Keyless | Self::Demo => HeaderName::from_static("x-cg-demo-api-key"),
            Self::Pro => HeaderName::from_static("x-cg-pro-api-key"),
        }
    }

    /// Returns the limits of the plan; of paid plans those of the smallest one.
    pub(crate) fn limits(self) -> Limits {
        match self {
            // Shared by all clients of an address, without a published number.
            Self::Keyless => Limits { per_minute: 5, credits: None },
            Self::Demo => Limits { per_minute: 30, credits: Some(10_000) },
            Self::Pro => Limits { per_minute: 250, credits: Some(100_000) },
        }
    }

    /// Returns the time between two updates of a price at CoinGecko.
    pub(crate) fn update(self) -> Span {
        match self {
            Self::Keyless | Self::Demo => Span::MINUTE,
            Self::Pro => Span::seconds(20),
        }
    }

    /// Returns how far back hourly prices go.
    pub(crate) fn depth(self) -> Span {
        match self {
            Self::Keyless | Self::Demo => Span(365 * Span::DAY.ms()),
            Self::Pro => Span(2 * 365 * Span::DAY.ms()),
        }
    }
}
