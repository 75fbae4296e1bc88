//! Interpretation of CoinGecko's answers: the answer that was asked for, or a refusal with its class.
//!
//! Errors come in four JSON shapes, as HTML with any status, as plain text, or as an empty body:
//! `{"status":{"error_code":10002,"error_message":"…"}}`, `{"error":{"status":{…}}}`, `{"error":"coin not found"}`,
//! `{"timestamp":"…","error_code":10011,"status":{"error_message":"…"}}`. The error code decides the class; without
//! one, the HTTP status does.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Misfit, field, object};
use super::key::{ApiKey, excerpt};

/// An HTTP answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) retry_after: Option<String>,
    /// Host of a redirect, with its port if it names one.
    pub(crate) redirected_to: Option<String>,
    pub(crate) body: Vec<u8>,
    /// Whether the body was truncated to the size limit.
    pub(crate) is_cut: bool,
}

/// Class of a refusal, by the right reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Too many requests: wait as told, then ask less often.
    RateLimited,
    /// A failure at CoinGecko or at a server before it: ask again later.
    Upstream,
    /// No connection, or no answer in time: ask again later.
    Unreachable,
    /// CoinGecko's network edge blocks this address: ask again much later.
    Blocked,
    /// A redirect, which is not followed, because the other host would receive the key: ask again later.
    Redirected,
    /// The key is missing, wrong, or for the other host: only a new configuration helps.
    Key,
    /// The plan does not include the request: only another plan helps.
    Plan,
    /// The request itself is wrong, such as an unknown currency.
    Request,
}

impl Class {
    /// Whether the same request may succeed soon.
    pub(crate) fn is_passing(self) -> bool {
        matches!(self, Self::RateLimited | Self::Upstream | Self::Unreachable)
    }

    /// Returns the class as one word: the cause of the resulting gap, and a label of metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate-limited",
            Self::Upstream => "upstream-error",
            Self::Unreachable => "unreachable",
            Self::Blocked => "blocked",
            Self::Redirected => "redirected",
            Self::Key => "key-refused",
            Self::Plan => "plan-refused",
            Self::Request => "request-refused",
        }
    }
}

/// Another answer than the one that was asked for, or no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) class: Class,
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<i64>,
    /// Error message of CoinGecko without the key, or of the client.
    pub(crate) detail: String,
    /// Whether CoinGecko itself named the error, as opposed to a page of a server in between.
    pub(crate) is_named: bool,
    /// Time to wait that CoinGecko asked for.
    pub(crate) retry_after: Option<Duration>,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, self.code) {
            (Some(status), Some(code)) if i64::from(status) != code => {
                write!(f, "CoinGecko answered {status} (code {code}): ")?
            }
            (Some(status), _) => write!(f, "CoinGecko answered {status}: ")?,
            (None, _) => write!(f, "CoinGecko did not answer: ")?,
        }
        write!(f, "{}", self.detail)?;
        match self.class {
            Class::Key => write!(f, "; check COINGECKO_API_KEY, COINGECKO_PLAN and --base-url"),
            Class::Plan => write!(f, "; ask for less history, or use another COINGECKO_PLAN"),
            Class::Request => write!(f, "; check --coin and --quote"),
            Class::Blocked => write!(f, "; this address may be blocked for a while"),
            Class::Redirected => {
                write!(f, "; set --base-url if the API has moved, or sign in if the network asks for it")
            }
            Class::Upstream if self.is_named && self.status.is_some_and(is_success) => {
                write!(f, "; check --coin, --quote and --base-url")
            }
            Class::Upstream if self.status.is_some_and(is_success) => {
                write!(f, "; check --base-url, and whether the network asks to sign in")
            }
            Class::RateLimited | Class::Upstream | Class::Unreachable => Ok(()),
        }
    }
}

impl HttpAnswer {
    /// Parses the answer that was asked for.
    ///
    /// # Errors
    /// The refusal that the answer is instead, without the key. `now` converts a date in `Retry-After` to a duration.
    pub(crate) fn parse<T>(
        &self,
        key: Option<&ApiKey>,
        now: SystemTime,
        parse: impl FnOnce(&str) -> Result<T, Misfit>,
    ) -> Result<T, Refusal> {
        if is_redirect(self.status) {
            return Err(self.redirect(key));
        }
        let text = String::from_utf8_lossy(&self.body);
        let is_html = self.is_html(&text);
        let reason = match if is_html { Err(Misfit::NoJson) } else { parse(&text) } {
            Ok(parsed) if is_success(self.status) => return Ok(parsed),
            Ok(_) => Cow::from("an error without words"),
            Err(Misfit::Form(form)) => form,
            Err(Misfit::NoJson) if is_html => "HTML instead of JSON".into(),
            Err(Misfit::NoJson) if self.is_cut => format!("more than {} bytes", self.body.len()).into(),
            Err(Misfit::NoJson) => "not JSON".into(),
        };
        let (code, words) = if is_html { (None, None) } else { code_and_words(&text) };
        let class = match class_of_code(code).unwrap_or_else(|| class_of_status(self.status)) {
            // The edge sends its page for a blocked address with several statuses.
            Class::Upstream if is_html && names_error_1020(&text) => Class::Blocked,
            class => class,
        };
        let is_named = words.is_some();
        let detail = match words {
            // Neither the status nor an error code marks this answer as an error.
            Some(words) if is_success(self.status) && class == Class::Upstream => {
                format!("the error {:?}", excerpt(&words, key))
            }
            Some(words) => excerpt(&words, key),
            None if self.body.is_empty() => "an empty body".to_owned(),
            None => format!("{reason}: {}", excerpt(&text, key)),
        };
        let retry_after = self.retry_after.as_deref().and_then(|header| parse_retry_after(header, now));
        Err(Refusal { class, status: Some(self.status), code, detail, is_named, retry_after })
    }

    fn redirect(&self, key: Option<&ApiKey>) -> Refusal {
        let detail = match &self.redirected_to {
            Some(host) => format!("redirected to {}", excerpt(host, key)),
            None => "a redirect that names no target".to_owned(),
        };
        let (class, status) = (Class::Redirected, Some(self.status));
        Refusal { class, status, code: None, detail, is_named: false, retry_after: None }
    }

    fn is_html(&self, text: &str) -> bool {
        let is_declared = self.content_type.as_deref().is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
        is_declared || text.trim_ascii_start().starts_with('<')
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Whether a status is a redirect. 304 means "not modified" and is not one.
fn is_redirect(status: u16) -> bool {
    (300..400).contains(&status) && status != 304
}

fn class_of_code(code: Option<i64>) -> Option<Class> {
    match code? {
        10002 | 10010 | 10011 => Some(Class::Key),
        // 10012: too old a date for the plan. It comes with 401, but the key is good.
        10005 | 10012 => Some(Class::Plan),
        429 => Some(Class::RateLimited),
        403 | 1020 => Some(Class::Blocked),
        _ => None,
    }
}

fn class_of_status(status: u16) -> Class {
    match status {
        429 => Class::RateLimited,
        401 => Class::Key,
        403 => Class::Blocked,
        408 => Class::Upstream,
        400..500 => Class::Request,
        _ => Class::Upstream,
    }
}

fn names_error_1020(page: &str) -> bool {
    let page = page.to_lowercase();
    page.contains("1020") && page.contains("denied") || page.contains("error code: 1020")
}

/// An error object, or an object inside it. Each field may hold any JSON.
#[derive(Default, Deserialize)]
struct ErrorObject<'a> {
    #[serde(borrow)]
    error_code: Option<&'a RawValue>,
    error_message: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

/// Returns the code and the message of an error object in any of its shapes.
fn code_and_words(text: &str) -> (Option<i64>, Option<String>) {
    fn inner(field: Option<&RawValue>) -> ErrorObject<'_> {
        field.and_then(|json| object(json.get())).unwrap_or_default()
    }
    let body: ErrorObject<'_> = object(text).unwrap_or_default();
    let error = inner(body.error);
    let objects = [&inner(body.status), &inner(error.status), &body, &error];
    let code = objects.iter().find_map(|object| object.error_code);
    let words = objects.iter().find_map(|object| object.error_message).or(body.error);
    (field(code).or_else(|| field::<String>(code)?.parse().ok()), field(words))
}

/// Parses `Retry-After`: seconds, or a date.
fn parse_retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    match header.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(header.trim()).ok()?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::coingecko::markets::{self, Quote};

    fn quotes(answer: &HttpAnswer) -> Result<HashMap<String, Quote>, Refusal> {
        answer.parse(None, UNIX_EPOCH, |page| markets::quotes(page, 1))
    }

    fn check(status: u16, body: &str, class: Class, code: Option<i64>, detail: &str) {
        let answer = HttpAnswer { status, body: body.into(), ..HttpAnswer::default() };
        let refusal = quotes(&answer).unwrap_err();
        assert_eq!((refusal.class, refusal.code, refusal.detail.as_str()), (class, code, detail), "{status} {body}");
    }

    #[test]
    fn all_shapes_of_errors_are_understood() {
        use Class::{Blocked, Key, Plan, RateLimited, Request, Upstream};
        check(
            401,
            r#"{"status":{"timestamp":"x","error_code":10002,"error_message":"API Key Missing."}}"#,
            Key,
            Some(10002),
            "API Key Missing.",
        );
        check(
            401,
            r#"{"error":{"status":{"error_code":10012,"error_message":"past 365 days"}}}"#,
            Plan,
            Some(10012),
            "past 365 days",
        );
        check(404, r#"{"error":"coin not found"}"#, Request, None, "coin not found");
        check(
            400,
            r#"{"timestamp":"x","error_code":10011,"status":{"error_message":"demo key"}}"#,
            Key,
            Some(10011),
            "demo key",
        );
        check(400, r#"{"status":{"error_code":"10010","error_message":"pro key"}}"#, Key, Some(10010), "pro key");
        check(
            401,
            r#"{"status":{"error_code":10005,"error_message":"not in plan"}}"#,
            Plan,
            Some(10005),
            "not in plan",
        );
        check(401, "", Key, None, "an empty body");
        check(400, r#"{"error":"invalid vs_currency"}"#, Request, None, "invalid vs_currency");
        check(422, r#"{"error":"Missing parameter vs_currency"}"#, Request, None, "Missing parameter vs_currency");
        check(
            403,
            r#"{"status":{"error_code":403,"error_message":"Please add a User-Agent"}}"#,
            Blocked,
            Some(403),
            "Please add a User-Agent",
        );
        check(
            429,
            r#"{"status":{"error_code":429,"error_message":"Rate Limit"}}"#,
            RateLimited,
            Some(429),
            "Rate Limit",
        );
        check(429, "Throttled", RateLimited, None, "not JSON: Throttled");
        check(
            200,
            r#"{"status":{"error_code":429,"error_message":"Rate Limit"}}"#,
            RateLimited,
            Some(429),
            "Rate Limit",
        );
        check(500, "something went wrong", Upstream, None, "not JSON: something went wrong");
        check(408, "", Upstream, None, "an empty body");
        check(524, "", Upstream, None, "an empty body");
        check(304, "", Upstream, None, "an empty body");
        check(200, "", Upstream, None, "an empty body");
        check(200, "{}", Upstream, None, "not a list: {}");
        check(200, r#"[{"id":"bitc"#, Upstream, None, r#"not JSON: [{"id":"bitc"#);
    }

    #[test]
    fn a_redirect_names_the_host_and_the_flag() {
        let redirected_to = Some("elsewhere.example:8443".to_owned());
        let answer = HttpAnswer { status: 302, redirected_to, body: b"[]".to_vec(), ..HttpAnswer::default() };
        let refusal = quotes(&answer).unwrap_err();
        assert_eq!(refusal.class, Class::Redirected);
        let said = refusal.to_string();
        assert!(said.contains("302: redirected to elsewhere.example:8443; set --base-url"), "{said}");
    }

    fn said(status: u16, body: &str) -> String {
        let answer = HttpAnswer { status, body: body.into(), ..HttpAnswer::default() };
        quotes(&answer).unwrap_err().to_string()
    }

    #[test]
    fn a_redirect_without_a_target_says_so() {
        let expected = "CoinGecko answered 302: a redirect that names no target; set --base-url if the API has moved, or \
                        sign in if the network asks for it";
        for body in ["", "[]", "<html>please sign in", r#"{"error":"moved"}"#] {
            assert_eq!(said(302, body), expected, "{body}");
        }
    }

    #[test]
    fn an_error_that_comes_as_a_success_is_quoted() {
        assert_eq!(
            said(200, r#"{"error":"coin not found"}"#),
            "CoinGecko answered 200: the error \"coin not found\"; check --coin, --quote and --base-url"
        );
        let unnamed =
            "CoinGecko answered 200: not a list: {}; check --base-url, and whether the network asks to sign in";
        assert_eq!(said(200, "{}"), unnamed);
    }

    #[test]
    fn html_is_never_taken_for_an_answer() {
        let page = "<!DOCTYPE html>\n<title>Access denied</title> Error 1020";
        check(
            403,
            page,
            Class::Blocked,
            None,
            "HTML instead of JSON: <!DOCTYPE html> <title>Access denied</title> Error 1020",
        );
        check(
            503,
            page,
            Class::Blocked,
            None,
            "HTML instead of JSON: <!DOCTYPE html> <title>Access denied</title> Error 1020",
        );
        check(503, "<html>busy", Class::Upstream, None, "HTML instead of JSON: <html>busy");
        check(200, "<html>sign in", Class::Upstream, None, "HTML instead of JSON: <html>sign in");
        let declared = HttpAnswer {
            status: 200,
            content_type: Some("text/HTML".to_owned()),
            body: b"[]".to_vec(),
            ..HttpAnswer::default()
        };
        assert_eq!(quotes(&declared).unwrap_err().class, Class::Upstream);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let check = |header: &str, expected: Option<u64>| {
            let retry_after = Some(header.to_owned());
            let answer = HttpAnswer { status: 429, retry_after, ..HttpAnswer::default() };
            let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
            let refusal = answer.parse(None, now, |page| markets::quotes(page, 1)).unwrap_err();
            assert_eq!(refusal.retry_after, expected.map(Duration::from_secs), "{header}");
        };
        check("119", Some(119));
        check(" 7 ", Some(7));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(7));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("soon", None);
    }

    #[test]
    fn an_empty_list_is_an_answer() {
        let answer = HttpAnswer { status: 200, body: b" [] ".to_vec(), ..HttpAnswer::default() };
        assert_eq!(quotes(&answer), Ok(HashMap::new()));
    }

    #[test]
    fn long_answers_are_shown_in_part_on_one_line() {
        let answer = HttpAnswer { status: 500, body: "a\nb\u{7}".repeat(10_000).into(), ..HttpAnswer::default() };
        let shown = quotes(&answer).unwrap_err().to_string();
        assert!(shown.len() < 250 && !shown.contains(['\n', '\u{7}']), "{shown}");
    }
}
