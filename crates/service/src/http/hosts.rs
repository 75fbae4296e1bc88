//! Allowed host names, as a defense against DNS rebinding.
//!
//! A foreign web page can point its own name at this machine; its script may then read this server as its own origin. Such
//! requests carry the foreign name in `Host`. An IP address, a name below `localhost` and a name without a dot cannot be
//! foreign names: public DNS has next to none of them.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

/// Allowed names with a dot; addresses, `localhost` and names without a dot are always allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(Arc<[String]>);

/// A refused request: status and reason.
type Refusal = (StatusCode, String);

impl FromStr for Hosts {
    type Err = String;

    /// Parses comma-separated names.
    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(configured).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

fn configured(name: &str) -> Result<String, String> {
    match name.parse::<Authority>() {
        Ok(authority) if authority.host() == name => Ok(normal(name)),
        _ => Err(format!(
            "{name:?} is not a host name: write it without scheme, port and path, as in prices.example.com"
        )),
    }
}

/// Normal form of a name: lower case, without the dot of the root.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl Hosts {
    /// Restricts the routes to requests under allowed names.
    pub(super) fn guard(self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(self, check))
    }

    fn judge(&self, request: &Request) -> Result<(), Refusal> {
        let mut named = request.headers().get_all(header::HOST).iter();
        let host = match (named.next(), named.next()) {
            (Some(host), None) => Some(authority(host.as_bytes())?),
            // Sent by probes of load balancers, not by browsers.
            (None, _) if request.version() < Version::HTTP_11 => None,
            _ => return Err((StatusCode::BAD_REQUEST, "a request must have exactly one Host header\n".to_owned())),
        };
        // A target such as `http://name/path` names a host too.
        let mut names = request.uri().authority().into_iter().chain(&host).map(Authority::host);
        match names.find(|name| !self.is_own(name)) {
            None => Ok(()),
            Some(foreign) => Err((
                StatusCode::MISDIRECTED_REQUEST,
                format!(
                    "{foreign} is not a name of this server: allow it with --allowed-hosts (CANDLEWIRE_ALLOWED_HOSTS)\n"
                ),
            )),
        }
    }

    fn is_own(&self, name: &str) -> bool {
        let name = normal(name);
        let is_address = name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok();
        is_address || !name.contains('.') || name.ends_with(".localhost") || self.0.contains(&name)
    }
}

fn authority(host: &[u8]) -> Result<Authority, Refusal> {
    let is_plain = |authority: &Authority| !authority.as_str().contains('@');
    let read = Authority::try_from(host).ok().filter(is_plain);
    read.ok_or_else(|| (StatusCode::BAD_REQUEST, "Host is not a host name\n".to_owned()))
}

async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match hosts.judge(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn status(hosts: &str, target: &str, version: Version, named: &[&str]) -> u16 {
        let mut request = Request::builder().uri(target).version(version);
        for host in named {
            request = request.header(header::HOST, *host);
        }
        let hosts: Hosts = hosts.parse().unwrap();
        hosts.judge(&request.body(Body::empty()).unwrap()).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn a_public_host_name_must_be_allowed() {
        let of = |host| status("Prices.example.com, candles.example.com.", "/", Version::HTTP_11, &[host]);
        for own in [
            "127.0.0.1:8080",
            "192.168.7.9",
            "[::1]:8080",
            "localhost",
            "LOCALHOST:80",
            "page.localhost",
            "localhost.",
            "reporter:8080",
            "candlewire_reporter-1",
            "prices.example.com",
            "PRICES.example.com:443",
            "candles.example.com",
        ] {
            assert_eq!(of(own), 200, "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost.example",
            "more.prices.example.com",
            "example.com",
        ] {
            assert_eq!(of(foreign), 421, "{foreign}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert_eq!(status("", "/", version, &["localhost", "localhost"]), 400);
            assert_eq!(status("", "/", version, &["user@localhost"]), 400);
            assert_eq!(status("", "/", version, &[""]), 400);
            assert_eq!(status("", "http://evil.example/", version, &["localhost"]), 421);
            assert_eq!(status("", "http://localhost/", version, &["evil.example"]), 421);
        }
        assert_eq!(status("", "/", Version::HTTP_11, &[]), 400);
        assert_eq!(status("", "/", Version::HTTP_10, &[]), 200);
    }

    #[test]
    fn allowed_names_have_no_scheme_port_or_path() {
        assert_eq!("".parse(), Ok(Hosts::default()));
        assert_eq!("A.example,b.example.".parse::<Hosts>().unwrap().to_string(), "a.example,b.example");
        for bad in ["https://a.example", "a.example:80", "a.example/x", "me@a.example", "a b.example"] {
            assert!(bad.parse::<Hosts>().is_err_and(|error| error.contains("is not a host name")), "{bad}");
        }
    }
}
