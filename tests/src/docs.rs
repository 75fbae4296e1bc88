//! Commands of the documentation: finds them, and checks whether they could be typed as written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::{program, succeed};
use crate::server::checkout;

/// Programs of this project.
pub const PROGRAMS: [&str; 6] = ["producer", "stream-processor", "aggregator", "trainer", "reporter", "topology"];
/// Other programs that a page may name.
const FOREIGN: &[&str] = &[
    ".",
    "apt-get",
    "cargo",
    "cat",
    "cd",
    "chmod",
    "chown",
    "cp",
    "curl",
    "duckdb",
    "echo",
    "export",
    "git",
    "grep",
    "install",
    "journalctl",
    "ls",
    "mkdir",
    "mv",
    "nats",
    "nats-server",
    "openssl",
    "printf",
    "rm",
    "rsync",
    "set",
    "sudoedit",
    "systemd-analyze",
    "tar",
    "tee",
    "true",
    "useradd",
];
/// Folders of the checkout: a path below one of them must exist.
const FOLDERS: [&str; 5] = ["scripts", "deploy", "tests", "docs", "crates"];
/// Paths there that documented commands create.
const MADE: [&str; 1] = ["deploy/docker/secrets"];

/// A command of a page: a line of a code block, with its continuation lines.
#[derive(Debug, Clone)]
pub struct Documented {
    /// Page and line, for people.
    pub place: String,
    /// Index of the code block in the page.
    pub block: usize,
    /// The text to be typed, without its comment.
    pub text: String,
}

/// All pages of the checkout that may show commands: those of its root, `deploy` and `docs`, by path. The changelog is
/// left out, since it may name removed commands.
pub fn pages() -> Vec<String> {
    let mut folders = vec![checkout()];
    folders.extend(["deploy", "docs"].iter().flat_map(|name| folders_below(&checkout().join(name))));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut pages: Vec<String> =
        pages.map(|path| path.strip_prefix(checkout()).unwrap().to_string_lossy().into_owned()).collect();
    pages.retain(|page| page != "CHANGELOG.md");
    pages.sort();
    pages
}

/// A folder and all folders below it.
fn folders_below(folder: &Path) -> Vec<PathBuf> {
    let inner = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    inner.flat_map(|path| folders_below(&path)).chain([folder.to_owned()]).collect()
}

/// The commands of a page, from its code blocks marked `sh`.
pub fn commands(page: &str) -> Vec<Documented> {
    let text = std::fs::read_to_string(checkout().join(page)).unwrap();
    let mut commands: Vec<Documented> = Vec::new();
    let mut fence: Option<bool> = None;
    let mut block = 0;
    let mut open: Option<Documented> = None;
    for (number, line) in text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = match fence {
                Some(_) => None,
                None => Some(language == "sh"),
            };
            block += 1;
        } else if fence == Some(true) {
            let part = without_comment(line);
            let mut command = open.take().unwrap_or(Documented {
                place: format!("{page}:{}", number + 1),
                block,
                text: String::new(),
            });
            match part.trim_end().strip_suffix('\\') {
                Some(part) => {
                    command.text += part;
                    open = Some(command);
                }
                None => {
                    command.text += part.trim();
                    commands.extend(Some(command).filter(|command| !command.text.is_empty()));
                }
            }
        }
    }
    commands
}

/// Checks that everything named by a command exists: programs, subcommands, flags, values, files of the checkout, units
/// and services.
///
/// # Errors
/// The missing thing.
pub fn check(command: &Documented) -> Result<(), String> {
    for words in simple_commands(&command.text) {
        check_files(&words)?;
        let mut words: &[String] = &words;
        let mut variables = Vec::new();
        while let [first, rest @ ..] = words {
            match first.split_once('=') {
                Some((name, value)) if !name.contains('/') => variables.push((name, value)),
                _ if ["sudo", "env", "exec", "!"].contains(&first.as_str()) => {}
                _ => break,
            }
            words = rest;
        }
        let [first, rest @ ..] = words else { continue };
        let name = Path::new(first).file_name().map_or(first.as_str(), |name| name.to_str().unwrap());
        match name {
            _ if PROGRAMS.contains(&name) => check_program(name, rest, &variables)?,
            _ if is_of_checkout(first) => check_script(first, rest)?,
            "docker" => check_docker(rest)?,
            "systemctl" => check_units(rest)?,
            _ if FOREIGN.contains(&name) => {}
            _ => return Err(format!("{name} is not a known program")),
        }
    }
    Ok(())
}

/// The program parses the whole command line itself, with `--print-config` in place of running it.
fn check_program(name: &str, arguments: &[String], variables: &[(&str, &str)]) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let output = program(name, dir.path())
        .args(arguments)
        .arg("--print-config")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{name} {}: {said}", arguments.join(" "))) }
}

fn check_script(script: &str, arguments: &[String]) -> Result<(), String> {
    let path = checkout().join(script);
    let help = Command::new(&path).arg("--help").output().map_err(|error| format!("{script}: {error}"))?;
    check_flags(script, arguments, &String::from_utf8_lossy(&help.stdout))
}

fn check_flags(whose: &str, arguments: &[String], help: &str) -> Result<(), String> {
    let known: BTreeSet<&str> = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
    let flags = arguments.iter().filter(|argument| argument.starts_with('-'));
    for flag in flags.map(|argument| argument.split('=').next().unwrap_or(argument)) {
        if !known.contains(flag) {
            return Err(format!("{whose} --help has no {flag}"));
        }
    }
    Ok(())
}

/// Compose itself checks `docker compose` commands as far as it can without an engine.
fn check_docker(arguments: &[String]) -> Result<(), String> {
    let [what, rest @ ..] = arguments else { return Err("docker what?".to_owned()) };
    if what != "compose" {
        return if what == "build" { Ok(()) } else { Err(format!("docker {what} is not known here")) };
    }
    let takes_value = |word: &str| ["-f", "--file", "--env-file", "--profile", "--project-name", "-p"].contains(&word);
    let mut globals: Vec<&str> = Vec::new();
    let mut words = rest.iter().map(String::as_str);
    let subcommand = loop {
        match words.next() {
            Some(word) if takes_value(word) => globals.extend([word, words.next().unwrap_or_default()]),
            Some(word) if word.starts_with('-') => return Err(format!("docker compose {word} is not known here")),
            Some(word) => break word,
            None => return Err("docker compose what?".to_owned()),
        }
    };
    let compose = |arguments: &[&str]| {
        let mut command = Command::new(checkout().join(".tools/docker-compose"));
        let output = command.current_dir(checkout()).args(arguments).output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!("docker compose {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)))
        }
    };
    // An unknown subcommand prints the general help.
    let help = compose(&[subcommand, "--help"])?;
    if !help.contains(&format!("docker compose {subcommand}")) {
        return Err(format!("docker compose has no {subcommand}"));
    }
    let rest: Vec<String> = words.map(str::to_owned).collect();
    let services = compose(&[&globals[..], &["config", "--no-env-resolution", "--services"]].concat())?;
    let position = rest.iter().position(|word| services.lines().any(|service| service == word));
    let (own, inside) = rest.split_at(position.unwrap_or(rest.len()));
    check_flags(&format!("docker compose {subcommand}"), own, &help)?;
    match (subcommand, inside) {
        ("run" | "exec", []) => Err(format!("docker compose {subcommand} names no service")),
        ("run", [service, arguments @ ..]) if PROGRAMS.contains(&service.as_str()) => {
            check_program(service, arguments, &[])
        }
        ("exec", [_, program, arguments @ ..]) if PROGRAMS.contains(&program.as_str()) => {
            check_program(program, arguments, &[])
        }
        _ => Ok(()),
    }
}

/// Every named unit must be a shipped one.
fn check_units(arguments: &[String]) -> Result<(), String> {
    for word in arguments.iter().filter(|argument| argument.starts_with("candlewire")) {
        // A shell expands `name-{a,b}@{1..4}` to several units.
        let units = succeed(Command::new("bash").args(["-f", "-c", &format!("printf '%s\\n' {word}")]));
        for unit in units.lines() {
            let has_suffix = unit.ends_with(".target") || unit.ends_with(".service");
            let unit = if has_suffix { unit.to_owned() } else { format!("{unit}.service") };
            let is_meant = |file: String| match (unit.split_once('*'), unit.split_once('@')) {
                (Some((prefix, suffix)), _) => file.starts_with(prefix) && file.ends_with(suffix),
                // The file of `name@4.service` is `name@.service`.
                (None, Some((stem, _))) => file == format!("{stem}@.service"),
                (None, None) => file == unit,
            };
            if !unit_files().any(is_meant) {
                return Err(format!("there is no unit {unit}"));
            }
        }
    }
    Ok(())
}

fn unit_files() -> impl Iterator<Item = String> {
    let listed = std::fs::read_dir(checkout().join("deploy/systemd")).unwrap().flatten();
    listed.map(|entry| entry.file_name().into_string().unwrap())
}

fn check_files(words: &[String]) -> Result<(), String> {
    for word in words {
        let path = word.trim_start_matches("./").split(['*', '$', '{']).next().unwrap_or_default();
        let is_made = MADE.iter().any(|made| path.starts_with(made));
        if is_of_checkout(path) && !is_made && !checkout().join(path).exists() {
            return Err(format!("{path} is not in the checkout"));
        }
    }
    Ok(())
}

fn is_of_checkout(word: &str) -> bool {
    let path = PathBuf::from(word.trim_start_matches("./"));
    path.components().count() > 1 && FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// The commands between `&&`, `|` and `;`, split into words, without redirections.
fn simple_commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut is_redirected = false;
    for word in words(text) {
        match word.as_str() {
            "&&" | "||" | "|" | ";" | "&" => commands.push(Vec::new()),
            ">" | ">>" | "<" | "2>" | "2>&1" => is_redirected = word != "2>&1",
            _ if is_redirected => is_redirected = false,
            _ => commands.last_mut().unwrap().push(word),
        }
    }
    commands.retain(|words| !words.is_empty());
    commands
}

/// The words of a line with quotes removed as a shell does; a `;` at the end of a word becomes a word of its own.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t' | '\n') => words.extend(word.take()),
            (None, ';') => {
                words.extend(word.take());
                words.push(";".to_owned());
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The line up to a `#` at the start of a word.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if before.is_whitespace() => return &line[..at],
            _ => {}
        }
        before = c;
    }
    line
}

/// The subcommands of a program of this project.
pub fn subcommands(name: &str) -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    let help = succeed(program(name, dir.path()).arg("--help"));
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}
