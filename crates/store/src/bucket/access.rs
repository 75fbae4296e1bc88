//! Address and key of an S3 server, from the environment.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Public half of the access key.
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// Secret half of the access key.
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
/// Session token of a temporary key.
const TOKEN: &str = "AWS_SESSION_TOKEN";
/// Region of the bucket; the first variable that is set counts.
const REGIONS: [&str; 2] = ["AWS_DEFAULT_REGION", "AWS_REGION"];
/// Address of an S3 server other than Amazon's.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
/// Amazon's first region, which other servers accept too.
const REGION: &str = "us-east-1";

/// Time until a request is given up, retries included.
const TIMEOUT: (&str, Duration) = ("CANDLEWIRE_S3_TIMEOUT", Duration::from_secs(60));
/// Time to connect, at most.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Time without progress of a body, in either direction, after which its request is sent again.
const STALL_MAX: Duration = Duration::from_secs(5);
/// Longest first pause before a retry. Each later pause may be twice as long, up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Retries per request. More than fit into its timeout, so that the timeout decides.
const ATTEMPTS_MAX: u32 = 1_000;

/// Address and key of an S3 server. Its debug output contains no secret.
#[derive(Clone)]
pub struct Access {
    credentials: Credentials,
    region: String,
    endpoint: Option<String>,
    timeout: Duration,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Error of the environment variables for S3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The key is missing, or half of it.
    #[error("{} not set: S3 needs a key, in the environment or in .env", names.join(" and "))]
    NoKey {
        /// Names of the missing variables.
        names: Vec<&'static str>,
    },
    /// The address is not valid.
    #[error("AWS_ENDPOINT_URL is {0:?}, which is not an address: write http://HOST:PORT or https://HOST")]
    Endpoint(String),
    /// The timeout is not valid.
    #[error("CANDLEWIRE_S3_TIMEOUT is {0:?}, which is not a time: write a number of seconds, such as 60")]
    Timeout(String),
}

impl Access {
    /// Reads address and key from the environment of this process.
    ///
    /// # Errors
    /// As [`Self::from_variables`].
    pub fn from_environment() -> Result<Self, AccessError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads key, region, address and timeout from variables; an empty variable counts as not set.
    ///
    /// # Errors
    /// The key is missing, or the address or the timeout is not valid.
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
            timeout: value(TIMEOUT.0).map_or(Ok(TIMEOUT.1), |text| parse_timeout(&text))?,
        })
    }

    /// Returns the address of the server, for messages.
    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.as_deref().unwrap_or("Amazon's address")
    }

    /// Creates a client. Clients do not share connections, so a process needs only one.
    pub(super) fn client(&self) -> Client {
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS_MAX)
            .with_initial_backoff(PAUSE_FIRST)
            .with_max_backoff(PAUSE_MAX);
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_MAX).operation_timeout(self.timeout).build();
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

fn parse_timeout(text: &str) -> Result<Duration, AccessError> {
    let seconds = text.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| AccessError::Timeout(text.to_owned()))
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
    fn half_a_key_is_refused_and_the_missing_half_named() {
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
    fn usual_variables_are_read_and_no_secret_is_printed() {
        let key = [(KEY_ID, "id-of-key"), (SECRET, "secret-of-key"), (TOKEN, "token-of-key")];
        assert_eq!(access(&key).expect("a key").region, "us-east-1");
        let both = access(&[&key[..], &[("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-2")]].concat());
        assert_eq!(both.expect("a key").region, "eu-west-2");
        let one = access(&[&key[..], &[("AWS_REGION", "eu-west-1"), (ENDPOINT, "http://127.0.0.1:8333")]].concat());
        let one = one.expect("a key");
        assert_eq!((one.region.as_str(), one.endpoint()), ("eu-west-1", "http://127.0.0.1:8333"));
        assert_eq!(one.timeout, Duration::from_secs(60));
        let timeout = |seconds| access(&[&key[..], &[("CANDLEWIRE_S3_TIMEOUT", seconds)]].concat());
        assert_eq!(timeout("5").expect("a key").timeout, Duration::from_secs(5));
        assert_eq!(timeout("0").expect_err("no time"), AccessError::Timeout("0".to_owned()));
        let printed = format!("{one:?} {:?}", super::super::Bucket::new("prices", &one));
        assert!(!printed.contains("of-key"), "{printed}");
        for bad in ["127.0.0.1:8333", "http://", "ftp://host", "https:///path", "http://a b"] {
            let refused = access(&[&key[..], &[(ENDPOINT, bad)]].concat()).expect_err(bad);
            assert_eq!(refused, AccessError::Endpoint(bad.to_owned()));
        }
    }
}
