//! Plans of the replica: keys, limits, credits and depth of history, as CoinGecko documents them.

use std::collections::VecDeque;

use market::{EventTime, Span};

use super::scripted::ScriptedAnswer;

/// A plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Without a key.
    Keyless,
    /// With a free key.
    Demo,
    /// With a paid key.
    Pro,
}

impl Plan {
    /// Requests in any minute, at most.
    pub fn per_minute(self) -> usize {
        match self {
            Self::Keyless => 5,
            Self::Demo => 30,
            Self::Pro => 500,
        }
    }

    /// Credits of a month.
    pub fn credits(self) -> u64 {
        match self {
            Self::Keyless => u64::MAX,
            Self::Demo => 10_000,
            Self::Pro => 500_000,
        }
    }

    /// How far back prices go.
    pub(super) fn depth(self) -> Span {
        match self {
            Self::Keyless | Self::Demo => Span(365 * Span::DAY.ms()),
            Self::Pro => Span(2 * 365 * Span::DAY.ms()),
        }
    }

    /// The time between two updates of a price.
    pub(super) fn update(self) -> Span {
        match self {
            Self::Keyless | Self::Demo => Span::MINUTE,
            Self::Pro => Span::seconds(20),
        }
    }

    /// The header with the key, and that of the other plan.
    pub(super) fn headers(self) -> (&'static str, &'static str) {
        match self {
            Self::Keyless | Self::Demo => ("x-cg-demo-api-key", "x-cg-pro-api-key"),
            Self::Pro => ("x-cg-pro-api-key", "x-cg-demo-api-key"),
        }
    }

    /// The error of a key of the other plan.
    pub(super) fn wrong_host(self) -> ScriptedAnswer {
        let (code, words) = match self {
            Self::Keyless | Self::Demo => {
                (10_010, "please change your root URL from api.coingecko.com to pro-api.coingecko.com")
            }
            Self::Pro => (10_011, "please change your root URL from pro-api.coingecko.com to api.coingecko.com"),
        };
        // The form of this error mixes the others.
        let body = serde_json::json!({"timestamp": "x", "error_code": code, "status": {"error_message": words}});
        ScriptedAnswer::json(400, &body)
    }
}

/// Requests of an account.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Times of the requests of the last minute.
    recent: VecDeque<i64>,
    /// Month, as `2026-12`, and its requests.
    month: (String, u64),
}

impl Usage {
    /// Counts a request, and refuses one beyond the limits.
    pub(super) fn count(&mut self, plan: Plan, now_ms: i64) -> Option<ScriptedAnswer> {
        let month = month(now_ms);
        if self.month.0 != month {
            self.month = (month, 0);
        }
        while self.recent.front().is_some_and(|first| now_ms - first >= Span::MINUTE.ms()) {
            self.recent.pop_front();
        }
        if self.recent.len() >= plan.per_minute() {
            return Some(ScriptedAnswer::rate_limited("60"));
        }
        if self.month.1 >= plan.credits() {
            let words = "You've reached the monthly credit limit of your plan";
            return Some(ScriptedAnswer::error(429, 10_006, words));
        }
        self.recent.push_back(now_ms);
        self.month.1 += 1;
        None
    }

    /// Requests of this month.
    pub(super) fn of_month(&self) -> u64 {
        self.month.1
    }
}

fn month(now_ms: i64) -> String {
    EventTime(now_ms).to_utc().format("%Y-%m").to_string()
}
