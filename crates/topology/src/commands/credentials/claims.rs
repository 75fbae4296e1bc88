//! Signed claims in nats-server's form: JSON web tokens of version 2 with Ed25519 keys.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use nkeys::KeyPair;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::accounts::{Account, Export, Import, ResponseType, User};

const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;
/// The value of an unlimited limit.
const UNLIMITED: i64 = -1;

/// Signs claims.
pub(crate) struct Issuer<'a> {
    /// The key of each account, by its name.
    pub(crate) keys: &'a BTreeMap<String, KeyPair>,
    /// Time of issue.
    pub(crate) issued: SystemTime,
    /// Expiry of users; `None` for never.
    pub(crate) expires: Option<SystemTime>,
}

impl Issuer<'_> {
    /// The operator, signed by itself.
    pub(crate) fn operator(&self, operator: &KeyPair, system_account: &str) -> anyhow::Result<String> {
        let claims = json!({ "type": "operator", "version": 2, "system_account": system_account });
        self.sign(operator, &operator.public_key(), "candlewire", claims, None)
    }

    /// An account, signed by the operator.
    pub(crate) fn account(&self, operator: &KeyPair, name: &str, account: &Account) -> anyhow::Result<String> {
        let storage = if account.has_jetstream { UNLIMITED } else { 0 };
        let limits = &account.limits;
        let limit = |limit: Option<i64>| limit.unwrap_or(UNLIMITED);
        let imports = account.imports.iter().map(|import| self.import(name, import)).collect::<Result<Vec<_>, _>>()?;
        let claims = json!({
            "type": "account",
            "version": 2,
            "imports": imports,
            "exports": account.exports.iter().map(export).collect::<Vec<_>>(),
            "limits": {
                "subs": limit(limits.max_subscriptions), "payload": limit(limits.max_payload),
                "conn": limit(limits.max_connections), "data": UNLIMITED, "imports": UNLIMITED, "exports": UNLIMITED,
                "wildcards": true, "leaf": 0,
                "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
            },
        });
        self.sign(operator, &self.key(name)?.public_key(), name, claims, None)
    }

    /// A credentials file: the user's claims, signed by its account, and the user's key.
    pub(crate) fn credentials(&self, account: &KeyPair, user: &User) -> anyhow::Result<String> {
        let key = KeyPair::new_user();
        let claims = json!({
            "type": "user",
            "version": 2,
            "pub": { "allow": user.permissions.publish },
            "sub": { "allow": user.permissions.subscribe },
            "subs": UNLIMITED, "data": UNLIMITED, "payload": UNLIMITED,
        });
        let token = self.sign(account, &key.public_key(), &user.user, claims, self.expires)?;
        let seed = key.seed().map_err(|error| anyhow::anyhow!("no seed for {}: {error}", user.user))?;
        Ok(format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             This key authenticates as the user: keep it as secret as a password.\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        ))
    }

    /// An import from another account, with that account's activation.
    fn import(&self, importer: &str, import: &Import) -> anyhow::Result<Value> {
        let (kind, source) = import.parts();
        let exporter = self.key(&source.account)?;
        let claims = json!({ "type": "activation", "version": 2, "kind": kind, "subject": source.subject });
        let token = self.sign(exporter, &self.key(importer)?.public_key(), &source.subject, claims, None)?;
        Ok(json!({
            "name": source.subject,
            "type": kind,
            "account": exporter.public_key(),
            "subject": source.subject,
            "token": token,
        }))
    }

    fn key(&self, account: &str) -> anyhow::Result<&KeyPair> {
        self.keys.get(account).with_context(|| format!("there is no account {account}"))
    }

    fn sign(
        &self,
        key: &KeyPair,
        subject: &str,
        name: &str,
        claims: Value,
        expires: Option<SystemTime>,
    ) -> anyhow::Result<String> {
        let mut claims = json!({
            "iat": seconds(self.issued)?,
            "iss": key.public_key(),
            "name": name,
            "sub": subject,
            "nats": claims,
        });
        if let Some(expires) = expires {
            claims["exp"] = json!(seconds(expires)?);
        }
        claims["jti"] = json!(BASE32_NOPAD.encode(&Sha256::digest(claims.to_string())));
        let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let signed = format!("{}.{}", encode(HEADER), encode(&claims.to_string()));
        let signature = key.sign(signed.as_bytes()).map_err(|error| anyhow::anyhow!("cannot sign {name}: {error}"))?;
        Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
    }
}

fn export(export: &Export) -> Value {
    let (kind, subject) = export.kind.parts();
    let mut claims = json!({ "name": subject, "subject": subject, "type": kind });
    if export.accounts.is_some() {
        claims["token_req"] = json!(true);
    }
    if let Some(response) = export.response_type {
        claims["response_type"] = match response {
            ResponseType::Singleton => json!("Singleton"),
            ResponseType::Stream => json!("Stream"),
        };
    }
    claims
}

fn seconds(time: SystemTime) -> anyhow::Result<u64> {
    Ok(time.duration_since(UNIX_EPOCH).context("this machine's clock is before 1970")?.as_secs())
}
