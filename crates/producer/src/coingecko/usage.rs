//! Limits and spent credits of a paid plan, by the endpoint `/key`.
//!
//! ```json
//! {"plan":"Analyst","rate_limit_request_per_minute":500,"monthly_call_credit":500000,
//!  "current_total_monthly_calls":32,"current_remaining_monthly_calls":499968,
//!  "api_key_rate_limit_request_per_minute":500,"api_key_monthly_call_credit":500000,
//!  "api_key_current_total_monthly_calls":8}
//! ```

use serde::Deserialize;
use serde_json::value::RawValue;

use super::budget::Limits;
use super::json::{Misfit, field, misfit, object};

/// Answer of `/key`. A field of another type than expected counts as absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Calls in any minute, at most.
    per_minute: Option<u32>,
    /// Credits of a month.
    credits: Option<u64>,
    /// Calls of the current period.
    pub(crate) spent: Option<u64>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    rate_limit_request_per_minute: Option<&'a RawValue>,
    api_key_rate_limit_request_per_minute: Option<&'a RawValue>,
    monthly_call_credit: Option<&'a RawValue>,
    api_key_monthly_call_credit: Option<&'a RawValue>,
    current_total_monthly_calls: Option<&'a RawValue>,
}

/// Parses an answer. The lower limit of plan and key counts.
///
/// # Errors
/// The body has neither limits nor calls.
pub(crate) fn usage(body: &str) -> Result<Usage, Misfit> {
    let none = || misfit(body, "no limits of the key");
    let found: Body<'_> = object(body).ok_or_else(none)?;
    let lower =
        |of_plan, of_key| [of_plan, of_key].into_iter().filter_map(field::<u64>).filter(|limit| *limit > 0).min();
    let per_minute = lower(found.rate_limit_request_per_minute, found.api_key_rate_limit_request_per_minute);
    let usage = Usage {
        per_minute: per_minute.map(|calls| u32::try_from(calls).unwrap_or(u32::MAX)),
        credits: lower(found.monthly_call_credit, found.api_key_monthly_call_credit),
        spent: field(found.current_total_monthly_calls),
    };
    let is_empty = usage.per_minute.is_none() && usage.credits.is_none() && usage.spent.is_none();
    if is_empty { Err(none()) } else { Ok(usage) }
}

impl Usage {
    /// Returns limits with those that CoinGecko told.
    pub(crate) fn limits(&self, table: Limits) -> Limits {
        Limits { per_minute: self.per_minute.unwrap_or(table.per_minute), credits: self.credits.or(table.credits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Limits = Limits { per_minute: 250, credits: Some(100_000) };

    #[test]
    fn the_lower_limit_of_plan_and_key_counts() {
        let body = r#"{"plan":"Other","rate_limit_request_per_minute":1000,"monthly_call_credit":1000000,
            "current_total_monthly_calls":32,"current_remaining_monthly_calls":999968,
            "api_key_rate_limit_request_per_minute":500,"api_key_monthly_call_credit":2000000}"#;
        let usage = usage(body).unwrap();
        assert_eq!(usage.limits(TABLE), Limits { per_minute: 500, credits: Some(1_000_000) });
        assert_eq!(usage.spent, Some(32));
    }

    #[test]
    fn a_field_that_is_no_number_leaves_the_table() {
        let usage = usage(
            r#"{"monthly_call_credit":"many","rate_limit_request_per_minute":0,"current_total_monthly_calls":5}"#,
        );
        assert_eq!(usage.unwrap().limits(TABLE), TABLE);
    }

    #[test]
    fn another_answer_is_none() {
        assert_eq!(usage("Throttled"), Err(Misfit::NoJson));
        for body in ["{}", "[]", r#"{"error":"x"}"#, r#"{"current_total_monthly_calls":-1}"#] {
            assert_eq!(usage(body), Err(Misfit::Form("no limits of the key".into())), "{body}");
        }
    }
}
