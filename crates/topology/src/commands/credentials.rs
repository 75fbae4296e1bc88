//! `topology credentials`: makes an operator, its accounts, and a credentials file per user, with the permissions of
//! the shipped configuration.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use nkeys::KeyPair;
use service::{Code, WithCode};

use super::output;

mod accounts;
mod claims;
mod conf;

use accounts::Account;
use claims::Issuer;

/// The account of the pipeline, named as in nats.conf.
const PIPELINE: &str = "CANDLEWIRE";
/// The account of nats-server's own monitoring and events.
const SYSTEM: &str = "SYS";
/// Included by deploy/nats/credentials.conf.
const SERVER_FILE: &str = "operator.conf";
/// The shipped users, unless other files are named.
const USERS: &str = include_str!("../../../../deploy/nats/users.conf");
const SERVICES: &str = include_str!("../../../../deploy/nats/services.conf");
const GUESTS: &str = include_str!("../../../../deploy/nats/guests.conf");

/// Flags of `topology credentials`.
#[derive(Debug, clap::Args)]
pub(crate) struct CredentialsArgs {
    /// Folder for each user's credentials, the server's part (operator.conf) and the signing keys; existing keys are
    /// reused
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// How long the users' credentials are valid, such as 90days; forever by default
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    valid: Option<Duration>,

    /// The pipeline's account, in place of the shipped deploy/nats/users.conf
    #[arg(long, value_name = "PATH")]
    users: Option<PathBuf>,

    /// The accounts of services, in place of the shipped deploy/nats/services.conf
    #[arg(long, value_name = "PATH")]
    services: Option<PathBuf>,

    /// The read-only accounts, in place of the shipped deploy/nats/guests.conf
    #[arg(long, value_name = "PATH")]
    guests: Option<PathBuf>,
}

/// Writes all files. Connects to no server.
pub(crate) fn credentials(args: &CredentialsArgs) -> anyhow::Result<()> {
    let accounts = read_accounts(args).exit_code(Code::BadConfig)?;
    let folder = &args.out;
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))
        .exit_code(Code::BadConfig)?;
    let operator = key(folder, "operator", KeyPair::new_operator)?;
    let mut keys = BTreeMap::new();
    for name in accounts.keys().map(String::as_str).chain([SYSTEM]) {
        keys.insert(name.to_owned(), key(folder, name, KeyPair::new_account)?);
    }
    let issued = SystemTime::now();
    let issuer = Issuer { keys: &keys, issued, expires: args.valid.map(|valid| issued + valid) };
    let mut preload = BTreeMap::new();
    preload.insert(keys[SYSTEM].public_key(), issuer.account(&operator, SYSTEM, &Account::default())?);
    for (name, account) in &accounts {
        preload.insert(keys[name].public_key(), issuer.account(&operator, name, account)?);
        for user in &account.users {
            let path = folder.join(format!("{}.creds", user.user));
            write_secret(&path, &issuer.credentials(&keys[name], user)?)?;
            output::line(&format!("{}  user {} of account {name}", path.display(), user.user));
        }
    }
    let system = keys[SYSTEM].public_key();
    let server = server_part(&issuer.operator(&operator, &system)?, &system, &preload);
    let path = folder.join(SERVER_FILE);
    fs::write(&path, server).with_context(|| format!("cannot write {}", path.display()))?;
    output::line(&format!("{}  for nats-server, by deploy/nats/credentials.conf", path.display()));
    Ok(())
}

fn read_accounts(args: &CredentialsArgs) -> anyhow::Result<BTreeMap<String, Account>> {
    let text = |path: &Option<PathBuf>, shipped: &str| match path {
        Some(path) => fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display())),
        None => Ok(shipped.to_owned()),
    };
    let pipeline = Account { has_jetstream: true, ..accounts::account(&text(&args.users, USERS)?).context("users")? };
    let services = accounts::accounts(&text(&args.services, SERVICES)?).context("services")?;
    let guests = accounts::accounts(&text(&args.guests, GUESTS)?).context("guests")?;
    let mut accounts = BTreeMap::from([(PIPELINE.to_owned(), pipeline)]);
    for (name, account) in services.into_iter().chain(guests) {
        let is_new = name != SYSTEM && accounts.insert(name.clone(), account).is_none();
        anyhow::ensure!(
            is_new,
            "the account {name} is defined twice: each needs its own name, and {SYSTEM} is reserved for the server"
        );
    }
    Ok(accounts)
}

/// The key of an operator or account: the one in the folder, or a new one.
fn key(folder: &Path, name: &str, make: fn() -> KeyPair) -> anyhow::Result<KeyPair> {
    let path = folder.join(format!("{name}.nk"));
    match fs::read_to_string(&path) {
        Ok(seed) => {
            let key = KeyPair::from_seed(seed.trim());
            key.map_err(|error| anyhow::anyhow!("{} holds no key: {error}", path.display())).exit_code(Code::BadConfig)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = make();
            let seed = key.seed().map_err(|error| anyhow::anyhow!("no seed for {name}: {error}"))?;
            write_secret(&path, &format!("{seed}\n"))?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())).exit_code(Code::BadConfig),
    }
}

/// Replaces a file that only its owner may read.
fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", path.display());
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(context),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)
}

fn server_part(operator: &str, system: &str, preload: &BTreeMap<String, String>) -> String {
    let accounts: String = preload.iter().map(|(id, token)| format!("    {id}: {token}\n")).collect();
    format!(
        "# Made by `topology credentials`; nothing in it is secret. deploy/nats/credentials.conf includes it.\n\n\
         operator: {operator}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{\n{accounts}}}\n"
    )
}
