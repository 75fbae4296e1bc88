//! Accounts of a nats-server configuration. Unknown settings are refused, never ignored.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::conf;

/// An account.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    #[serde(default)]
    pub(crate) users: Vec<User>,
    #[serde(default)]
    pub(crate) exports: Vec<Export>,
    #[serde(default)]
    pub(crate) imports: Vec<Import>,
    #[serde(default)]
    pub(crate) limits: Limits,
    /// Whether JetStream is enabled, which the configuration says outside this file.
    #[serde(skip)]
    pub(crate) has_jetstream: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) max_connections: Option<i64>,
    /// Per connection.
    pub(crate) max_subscriptions: Option<i64>,
    pub(crate) max_payload: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) user: String,
    /// The variable of its password, which credentials replace.
    #[serde(default, rename = "password")]
    _password: Option<String>,
    pub(crate) permissions: Permissions,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Permissions {
    pub(crate) subscribe: Vec<String>,
    pub(crate) publish: Vec<String>,
}

/// A subject or a service that other accounts may import.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Export {
    #[serde(flatten)]
    pub(crate) kind: Kind<String>,
    #[serde(default)]
    pub(crate) response_type: Option<ResponseType>,
    /// The accounts that may; all when absent.
    #[serde(default)]
    pub(crate) accounts: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ResponseType {
    Singleton,
    Stream,
}

pub(crate) type Import = Kind<Source>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) account: String,
    pub(crate) subject: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Kind<T> {
    Stream(T),
    Service(T),
}

impl<T> Kind<T> {
    /// Its type and content.
    pub(crate) fn parts(&self) -> (&'static str, &T) {
        match self {
            Self::Stream(of) => ("stream", of),
            Self::Service(of) => ("service", of),
        }
    }
}

/// Reads the body of one account.
pub(crate) fn account(text: &str) -> anyhow::Result<Account> {
    read(text)
}

/// Reads accounts by name.
pub(crate) fn accounts(text: &str) -> anyhow::Result<BTreeMap<String, Account>> {
    read(text)
}

fn read<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    serde_json::from_value(conf::parse(text)?).context("it has a setting that credentials cannot express")
}
