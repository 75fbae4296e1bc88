//! Where S3 is, and with which key: from the environment.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Half of a key: who asks.
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// The other half, which nobody may see.
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
/// Belongs to a key that was lent for a time.
const TOKEN: &str = "AWS_SESSION_TOKEN";
/// Where the bucket is; the first that is set counts.
const REGIONS: [&str; 2] = ["AWS_DEFAULT_REGION", "AWS_REGION"];
/// An S3 server other than Amazon's.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
/// Amazon's first region, which other servers take for any.
const REGION: &str = "us-east-1";

/// How long a request is tried before it is given up, retries included.
const PATIENCE: (&str, Duration) = ("CANDLEWIRE_S3_TIMEOUT", Duration::from_secs(60));
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a body may stand still, either way, before its request is sent again.
const STALL_MAX: Duration = Duration::from_secs(5);
/// The first pause before a request is sent again, at most; each later one may be twice as long, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// More often than a request can be sent in its time.
const ATTEMPTS_MAX: u32 = 1_000;

/// Where S3 is and who asks. What is printed of it has no secret.
#[derive(Clone)]
pub struct Access {
    credentials: Credentials,
    region: String,
    endpoint: Option<String>,
    patience: Duration,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Why the environment does not say how to reach S3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// There is no key, or half of one.
    #[error("{} not set: S3 needs a key, in the environment or in .env", names.join(" and "))]
    NoKey {
        /// The variables that are missing.
        names: Vec<&'static str>,
    },
    /// The address cannot be one.
    #[error("AWS_ENDPOINT_URL is {0:?}, which is no address: write http://HOST:PORT or https://HOST")]
    Endpoint(String),
    /// The time cannot be one.
    #[error("CANDLEWIRE_S3_TIMEOUT is {0:?}, which is no time: write a number of seconds, such as 60")]
    Patience(String),
}

impl Access {
    /// Takes it from the environment of this process.
    ///
    /// # Errors
    /// As [`Self::from_variables`].
    pub fn from_environment() -> Result<Self, AccessError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Takes the key, the region, the address and the time from variables; an empty one counts as not set.
    ///
    /// # Errors
    /// When the key is not there, or the address or the time cannot be one.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, AccessError> {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (Some(id), Some(secret)) = (value(KEY_ID), value(SECRET)) else {
            let names = [KEY_ID, SECRET].into_iter().filter(|name| value(name).is_none()).collect();
            return Err(AccessError::NoKey { names });
        };
        let endpoint = value(ENDPOINT);
        if let Some(endpoint) = endpoint.as_deref().filter(|endpoint| !is_address(endpoint)) {
            return Err(AccessError::Endpoint(endpoint.to_owned()));
        }
        Ok(Self {
            credentials: Credentials::new(id, secret, value(TOKEN), None, "environment"),
            region: REGIONS.into_iter().find_map(value).unwrap_or_else(|| REGION.to_owned()),
            endpoint,
            patience: value(PATIENCE.0).map_or(Ok(PATIENCE.1), |text| parse_patience(&text))?,
        })
    }

    /// Where S3 is, in words.
    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.as_deref().unwrap_or("Amazon's address")
    }

    /// A client. One for all of a process shares its connections.
    pub(super) fn client(&self) -> Client {
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS_MAX)
            .with_initial_backoff(PAUSE_FIRST)
            .with_max_backoff(PAUSE_MAX);
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_MAX).operation_timeout(self.patience).build();
        let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(self.credentials.clone())
            .region(Region::new(self.region.clone()))
            .retry_config(retries)
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL_MAX).build())
            .http_client(http.build_https());
        if let Some(endpoint) = &self.endpoint {
            // Servers other than Amazon's rarely have a host name for each bucket.
            config = config.endpoint_url(endpoint).force_path_style(true);
        }
        Client::from_conf(config.build())
    }
}

fn parse_patience(text: &str) -> Result<Duration, AccessError> {
    let seconds = text.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| AccessError::Patience(text.to_owned()))
}

fn is_address(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/') && !host.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(variables: &[(&str, &str)]) -> Result<Access, AccessError> {
        let value = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Access::from_variables(value)
    }

    #[test]
    fn a_key_is_needed_whole_and_what_is_missing_is_named() {
        let missing = |variables: &[_]| match access(variables) {
            Err(AccessError::NoKey { names }) => names,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing(&[]), [KEY_ID, SECRET]);
        assert_eq!(missing(&[(KEY_ID, "id"), (SECRET, "")]), [SECRET]);
        let error = access(&[(SECRET, "secret")]).expect_err("half a key");
        assert_eq!(error.to_string(), "AWS_ACCESS_KEY_ID not set: S3 needs a key, in the environment or in .env");
    }

    #[test]
    fn region_and_address_have_the_usual_names_and_no_secret_is_printed() {
        let key = [(KEY_ID, "id-of-key"), (SECRET, "secret-of-key"), (TOKEN, "token-of-key")];
        assert_eq!(access(&key).expect("a key").region, "us-east-1");
        let both = access(&[&key[..], &[("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-2")]].concat());
        assert_eq!(both.expect("a key").region, "eu-west-2");
        let one = access(&[&key[..], &[("AWS_REGION", "eu-west-1"), (ENDPOINT, "http://127.0.0.1:8333")]].concat());
        let one = one.expect("a key");
        assert_eq!((one.region.as_str(), one.endpoint()), ("eu-west-1", "http://127.0.0.1:8333"));
        assert_eq!(one.patience, Duration::from_secs(60));
        let patience = |seconds| access(&[&key[..], &[("CANDLEWIRE_S3_TIMEOUT", seconds)]].concat());
        assert_eq!(patience("5").expect("a key").patience, Duration::from_secs(5));
        assert_eq!(patience("0").expect_err("no time"), AccessError::Patience("0".to_owned()));
        let printed = format!("{one:?} {:?}", super::super::Bucket::new("prices", &one));
        assert!(!printed.contains("of-key"), "{printed}");
        for bad in ["127.0.0.1:8333", "http://", "ftp://host", "https:///path", "http://a b"] {
            let refused = access(&[&key[..], &[(ENDPOINT, bad)]].concat()).expect_err(bad);
            assert_eq!(refused, AccessError::Endpoint(bad.to_owned()));
        }
    }
}
