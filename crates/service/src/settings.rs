//! Where settings come from: the command line, then the environment, then `.env`, then defaults. Nothing that looks like a
//! setting of ours is ignored, and `--print-config` shows what counts.

mod env_file;
mod known;

use std::ffi::OsStr;
use std::io::{Write, stdout};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

pub(crate) use env_file::EnvFile;
pub use known::Settings;

/// What stands for a value that nobody should see.
const HIDDEN: &str = "(hidden)";
/// How alike two names must be, from 0 to 1, before one is taken for a slip of the other: clap's own bound is 0.7.
const ALIKE: f64 = 0.8;

/// Refuses a variable that looks like a setting and is not one: it would be ignored in silence.
///
/// # Errors
/// The first such name, with the one that was probably meant.
pub(crate) fn check_names(settings: &Settings, set: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
    let is_unknown = |name: &String| settings.prefix_of(name).is_some() && !settings.has(name);
    let Some(name) = set.into_iter().find(is_unknown) else { return Ok(()) };
    let prefix = settings.prefix_of(&name).unwrap_or_default();
    let rest = |name: &str| name.strip_prefix(prefix).unwrap_or_default().to_owned();
    let likeness = |known: &str| strsim::jaro_winkler(&rest(&name), &rest(known));
    let meant =
        settings.names().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|known| likeness(known) > ALIKE);
    let advice = meant.map_or_else(|| "remove it".to_owned(), |meant| format!("was {meant} meant?"));
    anyhow::bail!("{name} is set in the environment or .env, and is no setting: {advice}")
}

/// Prints every setting of the command that was called, its value and its origin.
pub(crate) fn print(settings: &Settings, command: &Command, matches: &ArgMatches, file: &EnvFile) {
    let rows = rows(settings, command, matches, file);
    let width =
        |column: fn(&[String; 3]) -> &String| rows.iter().map(|row| column(row).len()).max().unwrap_or_default();
    let (flags, values) = (width(|row| &row[0]), width(|row| &row[1]).min(60));
    for [flag, value, origin] in rows {
        // A reader that has seen enough (`| head`) is no error.
        drop(writeln!(stdout(), "{flag:<flags$}  {value:<values$}  {origin}"));
    }
}

fn rows(settings: &Settings, command: &Command, matches: &ArgMatches, file: &EnvFile) -> Vec<[String; 3]> {
    let (mut command, mut matches) = (command, matches);
    while let Some((name, of_subcommand)) = matches.subcommand() {
        let Some(subcommand) = command.find_subcommand(name) else { break };
        (command, matches) = (subcommand, of_subcommand);
    }
    let of_flags = command.get_arguments().filter(|arg| !is_about_itself(arg)).map(|arg| {
        let (value, origin) = effective(arg, matches, file);
        let name = arg.get_long().map_or_else(|| arg.get_id().to_string(), |long| format!("--{long}"));
        [name, value, origin]
    });
    let is_set = |name: &&str| std::env::var_os(name).is_some();
    let of_secrets = settings.secrets().filter(is_set);
    of_flags.chain(of_secrets.map(|name| [name.to_owned(), HIDDEN.to_owned(), from_variable(name, file)])).collect()
}

fn is_about_itself(arg: &Arg) -> bool {
    ["help", "version", "print_config"].contains(&arg.get_id().as_str())
}

/// What counts for a flag, and where it comes from.
fn effective(arg: &Arg, matches: &ArgMatches, file: &EnvFile) -> (String, String) {
    let id = arg.get_id().as_str();
    let texts = matches.try_get_raw(id).ok().flatten().map(|values| values.map(readable).collect::<Vec<_>>());
    let origin = match matches.value_source(id) {
        Some(ValueSource::CommandLine) => "command line".to_owned(),
        Some(ValueSource::EnvVariable) => from_variable(&arg.get_env().map(readable).unwrap_or_default(), file),
        Some(_) => "default".to_owned(),
        None => return ("-".to_owned(), "not set".to_owned()),
    };
    let value = if arg.is_hide_env_values_set() {
        HIDDEN.to_owned()
    } else {
        without_secrets(&texts.unwrap_or_default().join(","))
    };
    (value, origin)
}

fn readable(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

fn from_variable(name: &str, file: &EnvFile) -> String {
    if file.gave(name) { format!("{name} in .env") } else { name.to_owned() }
}

/// An address may name a user and a password.
fn without_secrets(value: &str) -> String {
    let hide = |address: &str| match address.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
        Some((scheme, Some((_, host)))) => format!("{scheme}://{HIDDEN}@{host}"),
        _ => address.to_owned(),
    };
    value.split(',').map(hide).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str =
        "# A list\nCANDLEWIRE_LEASE_TTL\n\nCANDLEWIRE_PASSWORD_PRODUCER secret\nCOINGECKO_API_KEY secret\n";

    #[test]
    fn a_name_that_is_no_setting_is_refused_with_the_one_that_was_meant() {
        let settings = Settings::parse(LIST);
        let check = |name: &str| check_names(&settings, [name.to_owned()]).map_err(|error| error.to_string());
        assert_eq!(check("CANDLEWIRE_LEASE_TTL"), Ok(()));
        assert_eq!(check("CANDLEWIRE_PASSWORD_PRODUCER"), Ok(()));
        assert_eq!(check("PATH"), Ok(()));
        assert_eq!(check("NATS_CONTEXT"), Ok(()), "other tools have settings too");
        assert!(check("CANDLEWIRE_LEASE_TLL").is_err_and(|error| error.contains("was CANDLEWIRE_LEASE_TTL meant?")));
        assert!(check("COINGECKO_APIKEY").is_err_and(|error| error.contains("was COINGECKO_API_KEY meant?")));
        assert!(check("COINGECKO_ZZZZZZZZZZZZ").is_err_and(|error| error.contains("remove it")));
    }

    #[test]
    fn settings_are_shown_with_their_origin_and_without_secrets() {
        let flag = |name: &'static str| Arg::new(name).long(name);
        let mut command = Command::new("producer").subcommand(Command::new("run").args([
            flag("url").default_value("nats://me:secret-1@here:4222,nats://there"),
            flag("password").hide_env_values(true),
            flag("coin"),
            flag("quote"),
        ]));
        let words = ["producer", "run", "--password", "secret-2", "--coin", "bitcoin"];
        let matches = command.try_get_matches_from_mut(words).unwrap();
        let rows = rows(&Settings::parse(LIST), &command, &matches, &EnvFile::default());
        let expected = [
            ["--url", "nats://(hidden)@here:4222,nats://there", "default"],
            ["--password", HIDDEN, "command line"],
            ["--coin", "bitcoin", "command line"],
            ["--quote", "-", "not set"],
        ];
        assert_eq!(rows[..4], expected.map(|row| row.map(str::to_owned)));
    }
}
