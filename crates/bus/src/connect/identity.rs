//! Identity of the client and TLS settings, read and checked before the first attempt to connect.

use std::fs;
use std::path::{Path, PathBuf};

use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{ClientConfig, RootCertStore};
use async_nats::{ConnectOptions, ServerAddr};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use super::args::{NatsArgs, Password};
use crate::error::Error;

/// User, credentials and TLS settings that follow from the flags.
#[derive(Debug)]
pub(super) struct Identity {
    /// Every server of a cluster.
    pub(super) addresses: Vec<ServerAddr>,
    /// The user, whose inbox is `_INBOX_<user>`; empty without a user name.
    pub(super) user: String,
    login: Login,
    tls: Tls,
}

/// The credentials of a user.
#[derive(Debug)]
enum Login {
    /// Without credentials.
    Anonymous,
    Password {
        password: Password,
        /// The file that the password was read from, if any.
        path: Option<PathBuf>,
    },
    Credentials {
        path: PathBuf,
        text: Password,
    },
}

/// TLS files, and whether TLS is required.
#[derive(Debug)]
struct Tls {
    is_required: bool,
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

impl Identity {
    /// Reads the files that the flags name. `default_user` is the service's own user, `None` for anonymous access.
    pub(super) fn new(args: &NatsArgs, default_user: Option<&str>) -> Result<Self, Error> {
        let addresses = addresses(&args.nats_url)?;
        let login = Login::new(args, default_user)?;
        let named = match &login {
            Login::Credentials { text, .. } => name_in(text.reveal()),
            Login::Anonymous | Login::Password { .. } => None,
        };
        let user = args.nats_user.clone().or(named).or(default_user.map(str::to_owned)).unwrap_or_default();
        let tls = Tls::new(args, addresses.iter().any(ServerAddr::tls_required))?;
        Ok(Self { addresses, user, login, tls })
    }

    /// Connect options with user, credentials and TLS.
    pub(super) fn options(&self) -> Result<ConnectOptions, Error> {
        let mut options = ConnectOptions::new().require_tls(self.tls.is_required);
        if let Some(ca) = &self.tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &self.tls.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        options = match &self.login {
            Login::Anonymous => options,
            Login::Password { password, .. } => {
                options.user_and_password(self.user.clone(), password.reveal().to_owned())
            }
            Login::Credentials { path, text } => {
                options.credentials(text.reveal()).map_err(|error| unreadable("credentials", path, &error))?
            }
        };
        Ok(if self.user.is_empty() {
            options.name("candlewire")
        } else {
            options.name(&self.user).custom_inbox_prefix(format!("_INBOX_{}", self.user))
        })
    }

    /// Description of the refused user, and advice.
    pub(super) fn refusal(&self) -> (String, String) {
        match &self.login {
            Login::Anonymous => (
                "a client without a user".to_owned(),
                "give a user with --nats-user, or credentials with --creds".to_owned(),
            ),
            Login::Password { path: Some(path), .. } => (
                format!("user {:?}", self.user),
                format!(
                    "{} must hold the password that the server was started with (scripts/install, or for containers \
                     deploy/docker/make-secrets, sets both; then restart the server and this program)",
                    path.display()
                ),
            ),
            Login::Password { path: None, .. } => (
                format!("user {:?}", self.user),
                format!(
                    "set NATS_PASSWORD or {} to the password that the server was started with (scripts/setup writes \
                     it to .env)",
                    password_variable(&self.user)
                ),
            ),
            Login::Credentials { path, .. } => (
                format!("the credentials in {}", path.display()),
                "they have expired, were revoked, or belong to another operator; make new ones as \
                 deploy/nats/credentials.conf says"
                    .to_owned(),
            ),
        }
    }

    /// Whether a client certificate is configured.
    pub(super) fn has_certificate(&self) -> bool {
        self.tls.certificate.is_some()
    }
}

impl NatsArgs {
    /// Reads every file that the flags name and checks that the flags fit together, without connecting. `user` is the
    /// service's own user.
    ///
    /// # Errors
    /// [`Error::Settings`], which says what to change.
    pub fn check(&self, user: Option<&str>) -> Result<(), Error> {
        Identity::new(self, user).map(drop)
    }
}

impl Login {
    fn new(args: &NatsArgs, default_user: Option<&str>) -> Result<Self, Error> {
        let password = args.nats_password.as_ref().filter(|password| !password.reveal().is_empty());
        let given = [
            args.creds.is_some().then_some("--creds (NATS_CREDS)"),
            password.map(|_| "--nats-password (NATS_PASSWORD)"),
            args.nats_password_file.as_ref().map(|_| "--nats-password-file (NATS_PASSWORD_FILE)"),
        ];
        if let [first, second, ..] = given.into_iter().flatten().collect::<Vec<_>>()[..] {
            return Err(Error::Settings { detail: format!("{first} and {second} are both set: keep one of them") });
        }
        if let Some(path) = &args.creds {
            let text = read("credentials", path)?;
            // Only checks the format; the result is not kept.
            ConnectOptions::with_credentials(&text).map_err(|error| unreadable("credentials", path, &error))?;
            return Ok(Self::Credentials { path: path.clone(), text: text.into() });
        }
        let Some(user) = args.nats_user.as_deref().or(default_user) else { return Ok(Self::Anonymous) };
        if let Some(path) = &args.nats_password_file {
            let text = read("password", path)?;
            let password = text.trim_end_matches(['\r', '\n']);
            if password.is_empty() {
                let detail = format!("the password file {} is empty: write the password into it", path.display());
                return Err(Error::Settings { detail });
            }
            return Ok(Self::Password { password: password.to_owned().into(), path: Some(path.clone()) });
        }
        let from_environment = || std::env::var(password_variable(user)).unwrap_or_default().into();
        Ok(Self::Password { password: password.cloned().unwrap_or_else(from_environment), path: None })
    }
}

impl Tls {
    fn new(args: &NatsArgs, is_asked_for: bool) -> Result<Self, Error> {
        let certificate = match (&args.tls_cert, &args.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(incomplete("--tls-cert (NATS_TLS_CERT)", "--tls-key (NATS_TLS_KEY)")),
            (None, Some(_)) => return Err(incomplete("--tls-key (NATS_TLS_KEY)", "--tls-cert (NATS_TLS_CERT)")),
        };
        let ca = args.tls_ca.clone();
        let mut trusted = RootCertStore::empty();
        if let Some(path) = &ca {
            for certificate in certificates(path)? {
                trusted.add(certificate).map_err(|error| unreadable("certificate", path, &error))?;
            }
        }
        if let Some((path, key_path)) = &certificate {
            let key = PrivateKeyDer::from_pem_file(key_path).map_err(|error| unreadable("key", key_path, &error))?;
            // Built only to check that certificate and key fit together. The client reads the files itself at each
            // reconnect, so that renewed files are used.
            let made = ClientConfig::builder()
                .with_root_certificates(trusted)
                .with_client_auth_cert(certificates(path)?, key)
                .map(drop);
            made.map_err(|error| Error::Settings {
                detail: format!("cannot use certificate {} with key {}: {error}", path.display(), key_path.display()),
            })?;
        }
        let is_required = is_asked_for || ca.is_some() || certificate.is_some();
        Ok(Self { is_required, ca, certificate })
    }
}

fn addresses(url: &str) -> Result<Vec<ServerAddr>, Error> {
    let mut addresses = Vec::new();
    for address in url.split(',').map(str::trim).filter(|address| !address.is_empty()) {
        let settings = |detail: &str| Error::Settings { detail: format!("--nats-url (NATS_URL): {detail}") };
        let parsed: ServerAddr = address
            .parse()
            // The address is not repeated in the error: a malformed one may contain a password.
            .map_err(|error| settings(&format!("{error}; it should look like nats://127.0.0.1:4222")))?;
        if parsed.is_websocket() {
            return Err(settings("WebSockets are not supported; use nats:// or tls://"));
        }
        if parsed.has_user_pass() || parsed.password().is_some() {
            return Err(settings(
                "an address holds no user and no password; use --nats-user and --nats-password-file, or --creds",
            ));
        }
        addresses.push(parsed);
    }
    if addresses.is_empty() {
        return Err(Error::Settings { detail: "--nats-url (NATS_URL) names no server".to_owned() });
    }
    Ok(addresses)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = |error| unreadable("certificate", path, &error);
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect();
    let certificates = read.map_err(unreadable)?;
    if certificates.is_empty() {
        let detail = format!("{} holds no certificate: it must be a PEM file", path.display());
        return Err(Error::Settings { detail });
    }
    Ok(certificates)
}

fn read(what: &str, path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| unreadable(what, path, &error))
}

fn unreadable(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Settings { detail: format!("cannot use the {what} file {}: {error}", path.display()) }
}

fn incomplete(given: &str, missing: &str) -> Error {
    Error::Settings { detail: format!("{given} is set without {missing}: a certificate needs its key") }
}

/// Environment variable of a user's password.
fn password_variable(user: &str) -> String {
    format!("CANDLEWIRE_PASSWORD_{}", user.to_uppercase().replace('-', "_"))
}

/// The user name in a credentials file; the user's inbox has this name.
fn name_in(credentials: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        name: String,
    }
    let token = credentials.lines().find(|line| line.starts_with("ey"))?;
    let claims = BASE64URL_NOPAD.decode(token.trim().split('.').nth(1)?.as_bytes()).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.name).filter(|name| !name.is_empty())
}
