//! Settings: the command line, then the environment, then `.env`, then defaults. A variable that looks like a setting but
//! is none is refused, and `--print-config` prints the effective values.

mod env_file;
mod known;

use std::ffi::OsStr;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::output::print_line;

pub(crate) use env_file::EnvFile;
pub use known::Settings;

/// Printed in place of secret values.
const HIDDEN: &str = "(hidden)";
/// Similarity from 0 to 1 above which a name counts as a misspelling of another. The bound in clap is 0.7.
const SIMILAR: f64 = 0.8;

/// Refuses a variable that looks like a setting but is none; it would be ignored silently otherwise.
///
/// # Errors
/// The first such name, with the most similar setting.
pub(crate) fn check_names(settings: &Settings, set: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
    let is_unknown = |name: &String| settings.prefix_of(name).is_some() && !settings.has(name);
    let Some(name) = set.into_iter().find(is_unknown) else { return Ok(()) };
    let prefix = settings.prefix_of(&name).unwrap_or_default();
    let rest = |name: &str| name.strip_prefix(prefix).unwrap_or_default().to_owned();
    let similarity = |known: &str| strsim::jaro_winkler(&rest(&name), &rest(known));
    let meant = settings
        .names()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
        .filter(|known| similarity(known) > SIMILAR);
    let advice = meant.map_or_else(|| "remove it".to_owned(), |meant| format!("was {meant} meant?"));
    anyhow::bail!("{name} is set in the environment or .env, but there is no such setting: {advice}")
}

/// Prints every setting of the called command with its value and origin.
pub(crate) fn print(settings: &Settings, command: &Command, matches: &ArgMatches, file: &EnvFile) {
    let rows = rows(settings, command, matches, file);
    let width =
        |column: fn(&[String; 3]) -> &String| rows.iter().map(|row| column(row).len()).max().unwrap_or_default();
    let (flags, values) = (width(|row| &row[0]), width(|row| &row[1]).min(60));
    for [flag, value, origin] in rows {
        // A closed pipe (`| head`) is no error.
        drop(print_line(format_args!("{flag:<flags$}  {value:<values$}  {origin}")));
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

/// Effective value of a flag, and its origin.
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

/// Hides the user and password of addresses.
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
    fn an_unknown_setting_is_refused_with_the_similar_one() {
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
    fn settings_are_printed_with_origin_and_without_secrets() {
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
