//! The files of the page, which are embedded in the program. They are compressed once, and a browser that has them gets no
//! bytes again.

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::entity_tag;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file by the path of its address, with its content type and its text.
type File = (&'static str, &'static str, &'static str);

macro_rules! modules {
    ($($name:literal),+ $(,)?) => {
        [$((concat!("/page/", $name), SCRIPT, include_str!(concat!("page/", $name)))),+]
    };
}

const MODULES: &[File] = &modules![
    "age.js",
    "api.js",
    "app.js",
    "chart.js",
    "clock.js",
    "dom.js",
    "format.js",
    "history.js",
    "instrument_data.js",
    "keys.js",
    "legend.js",
    "live.js",
    "models.js",
    "overlay.js",
    "page_state.js",
    "panels.js",
    "plots.js",
    "slots.js",
    "switcher.js",
    "tables.js",
    "theme.js",
    "theme_early.js",
];

const OTHERS: &[File] = &[
    ("/", HTML, include_str!("index.html")),
    ("/icon.svg", IMAGE, include_str!("icon.svg")),
    ("/page/style.css", STYLE, include_str!("page/style.css")),
    ("/vendor/lightweight-charts.mjs", SCRIPT, include_str!("vendor/lightweight-charts.mjs")),
    ("/vendor/LICENSE", TEXT, include_str!("vendor/LICENSE-lightweight-charts.txt")),
    ("/vendor/NOTICE", TEXT, include_str!("vendor/NOTICE-lightweight-charts.txt")),
];

/// A file as it is sent.
#[derive(Debug)]
struct Asset {
    kind: &'static str,
    /// Changes with the content.
    tag: HeaderValue,
    plain: &'static str,
    gzip: Bytes,
}

/// Returns the routes of the files.
///
/// # Errors
/// A file cannot be compressed.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> anyhow::Result<Router<S>> {
    let mut routes = Router::new();
    for &(path, kind, text) in OTHERS.iter().chain(MODULES) {
        let asset = Arc::new(Asset::new(kind, text).with_context(|| format!("cannot prepare {path}"))?);
        routes = routes.route(path, get(move |headers: HeaderMap| async move { asset.answer(&headers) }));
    }
    Ok(routes)
}

impl Asset {
    fn new(kind: &'static str, plain: &'static str) -> anyhow::Result<Self> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain.as_bytes())?;
        let gzip = encoder.finish()?.into();
        Ok(Self { kind, tag: entity_tag::of(plain.as_bytes()), plain, gzip })
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let common = [(ETAG, self.tag.clone()), (VARY, HeaderValue::from_name(ACCEPT_ENCODING))];
        if entity_tag::is_known(headers, &self.tag) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        let kind = [(CONTENT_TYPE, HeaderValue::from_static(self.kind))];
        if entity_tag::lists(headers, ACCEPT_ENCODING, is_gzip) {
            let encoding = [(CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
            return (common, kind, encoding, self.gzip.clone()).into_response();
        }
        (common, kind, self.plain).into_response()
    }
}

/// Whether an encoding is gzip, and not refused by a weight of 0.
fn is_gzip(entry: &[u8]) -> bool {
    let mut parts = entry.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"gzip"));
    let is_refused = parts.any(|weight| matches!(weight, b"q=0" | b"q=0.0" | b"q=0.00" | b"q=0.000"));
    is_named && !is_refused
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::http::HeaderName;
    use axum::http::header::IF_NONE_MATCH;
    use flate2::read::GzDecoder;

    use super::*;

    /// Bytes of the whole page, compressed, at most.
    const COMPRESSED_MAX: usize = 350_000;

    fn html() -> &'static str {
        OTHERS[0].2
    }

    fn ask(asset: &Asset, name: HeaderName, value: &str) -> (StatusCode, Option<String>) {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a header"));
        let answer = asset.answer(&headers);
        let encoding = answer.headers().get(CONTENT_ENCODING).map(|name| name.to_str().expect("text").to_owned());
        (answer.status(), encoding)
    }

    #[test]
    fn a_browser_that_has_a_file_gets_no_bytes() {
        let asset = Asset::new(TEXT, "some text").expect("an asset");
        let tag = asset.tag.to_str().expect("text").to_owned();
        assert_eq!(ask(&asset, IF_NONE_MATCH, &format!("\"other\", {tag}")).0, StatusCode::NOT_MODIFIED);
        assert_eq!(ask(&asset, IF_NONE_MATCH, "W/\"0000000000000000\"").0, StatusCode::OK);
        assert_ne!(asset.tag, Asset::new(TEXT, "other text").expect("an asset").tag);
    }

    #[test]
    fn only_a_client_that_takes_gzip_gets_it() {
        let asset = Asset::new(TEXT, "some text").expect("an asset");
        let gzip = Some("gzip".to_owned());
        for (accepted, encoding) in
            [("gzip", &gzip), ("br, GZIP;q=0.5", &gzip), ("gzip;q=0", &None), ("br", &None), ("x-gzip", &None)]
        {
            assert_eq!(ask(&asset, ACCEPT_ENCODING, accepted), (StatusCode::OK, encoding.clone()), "{accepted}");
        }
        let mut text = String::new();
        GzDecoder::new(&asset.gzip[..]).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, "some text");
    }

    #[test]
    fn the_page_is_small_enough_to_be_there_at_once() {
        let loaded = OTHERS.iter().chain(MODULES).filter(|(_, kind, _)| *kind != TEXT);
        let bytes: usize = loaded.map(|(_, kind, text)| Asset::new(kind, text).expect("an asset").gzip.len()).sum();
        assert!(bytes < COMPRESSED_MAX, "{bytes}");
    }

    /// A module that is not preloaded costs a round trip for each one that leads to it.
    #[test]
    fn every_module_is_named_in_the_page_and_exists() {
        for (path, _, _) in MODULES {
            assert!(html().contains(&format!("\"{path}\"")), "{path} is not loaded");
        }
        let named = html().split('"').filter(|text| text.starts_with("/page/") || text.starts_with("/vendor/"));
        for path in named {
            assert!(OTHERS.iter().chain(MODULES).any(|file| file.0 == path), "{path} does not exist");
        }
    }

    /// The content security policy forbids them.
    #[test]
    fn the_page_has_no_inline_script_or_style() {
        for forbidden in ["<style", "style=", "onclick=", "onload=", "javascript:", "<script>", "src=\"http"] {
            assert!(!html().contains(forbidden), "{forbidden}");
        }
    }
}
