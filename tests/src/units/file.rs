//! A unit as its files describe it: the unit file, its drop-ins, and their specifiers.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::root::Root;

/// Where systemd looks for units, first match first.
const UNIT_PATHS: [&str; 4] =
    ["etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system"];

/// A loaded unit.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its full name, such as `candlewire-aggregator@2.service`.
    pub name: String,
    /// Section, key and value of every line, in order, with specifiers replaced.
    lines: Vec<(String, String, String)>,
}

impl Unit {
    /// Loads a unit; a name without a suffix means a service.
    ///
    /// # Errors
    /// The unit does not exist or is malformed.
    pub fn load(root: &Root, name: &str) -> anyhow::Result<Self> {
        let name = full_name(name);
        let file = find(root, &name).with_context(|| format!("Unit {name} not found."))?;
        let mut lines = parse(&file)?;
        for drop_in in drop_ins(root, &name) {
            lines.extend(parse(&drop_in)?);
        }
        for (_, _, value) in &mut lines {
            *value = specified(value, &name)?;
        }
        Ok(Self { name, lines })
    }

    /// Whether it is a target.
    pub fn is_target(&self) -> bool {
        self.name.ends_with(".target")
    }

    /// All values of a key that may occur repeatedly; an empty value clears the earlier ones.
    pub fn all(&self, section: &str, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, _, value) in self.lines.iter().filter(|line| line.0 == section && line.1 == key) {
            if value.is_empty() { values.clear() } else { values.push(value.as_str()) }
        }
        values
    }

    /// The effective value of a key: the last.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.all(section, key).pop()
    }

    /// The names in all values of a key.
    pub fn names(&self, section: &str, key: &str) -> Vec<String> {
        self.all(section, key).into_iter().flat_map(str::split_whitespace).map(str::to_owned).collect()
    }

    /// A boolean setting; `default` when absent.
    pub fn is_on(&self, section: &str, key: &str, default: bool) -> bool {
        self.last(section, key).map_or(default, |value| matches!(value, "yes" | "true" | "on" | "1"))
    }

    /// Every section and key, in order.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|(section, key, _)| (section.as_str(), key.as_str()))
    }
}

/// A name with its suffix.
pub(crate) fn full_name(name: &str) -> String {
    let has_suffix = [".service", ".target"].iter().any(|suffix| name.ends_with(suffix));
    if has_suffix { name.to_owned() } else { format!("{name}.service") }
}

/// The names under which a unit may have files: its own and its template's.
fn names_of(name: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    if let (Some((prefix, _)), Some((_, suffix))) = (name.split_once('@'), name.rsplit_once('.')) {
        names.push(format!("{prefix}@.{suffix}"));
    }
    names
}

fn find(root: &Root, name: &str) -> Option<PathBuf> {
    let candidates = names_of(name).into_iter().flat_map(|name| UNIT_PATHS.map(|path| root.join(path).join(&name)));
    candidates.into_iter().find(|path| path.is_file())
}

/// Drop-ins of all `candlewire-….service`, then of the template, then of the unit itself, each sorted by name.
fn drop_ins(root: &Root, name: &str) -> Vec<PathBuf> {
    let mut folders = names_of(name);
    if let (Some((prefix, _)), Some((_, suffix))) = (name.split_once('-'), name.rsplit_once('.')) {
        folders.push(format!("{prefix}-.{suffix}"));
    }
    folders.reverse();
    let mut files = Vec::new();
    for folder in folders {
        for path in UNIT_PATHS.iter().rev() {
            let listed = std::fs::read_dir(root.join(path).join(format!("{folder}.d")));
            let mut found: Vec<PathBuf> = listed.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            found.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
            found.sort();
            files.extend(found);
        }
    }
    files
}

fn parse(path: &Path) -> anyhow::Result<Vec<(String, String, String)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut section = String::new();
    let mut lines = Vec::new();
    for line in text.replace("\\\n", " ").lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { bail!("{}: not a setting: {line}", path.display()) };
        lines.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(lines)
}

/// Replaces the specifiers that the shipped units use.
fn specified(value: &str, unit: &str) -> anyhow::Result<String> {
    let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
    let instance = stem.split_once('@').map_or("", |(_, instance)| instance);
    let mut made = String::new();
    let mut rest = value.chars();
    while let Some(letter) = rest.next() {
        if letter != '%' {
            made.push(letter);
            continue;
        }
        match rest.next() {
            Some('%') => made.push('%'),
            Some('i') => made.push_str(instance),
            Some('n') => made.push_str(unit),
            Some('N') => made.push_str(stem),
            Some('d') => made.push_str(&format!("/run/credentials/{unit}")),
            Some('S') => made.push_str("/var/lib"),
            Some('E') => made.push_str("/etc"),
            other => bail!("{unit}: specifier %{} is not known here", other.map(String::from).unwrap_or_default()),
        }
    }
    Ok(made)
}

/// Splits a line into words as unit and environment files do, with single and double quotes.
pub(crate) fn words(text: &str) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        bail!("a quote is not closed: {text}");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = Root::at(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn an_instance_has_its_template_lines_with_its_own_name() {
        let text = "[Service]\nExecStart=/bin/a --port 210%i \"two words\"\nEnvironment=A=%d/x B=%n\n";
        let (_dir, root) = root_with(&[("usr/lib/systemd/system/a@.service", text)]);
        let unit = Unit::load(&root, "a@7").unwrap();
        assert_eq!(
            words(unit.last("Service", "ExecStart").unwrap()).unwrap(),
            ["/bin/a", "--port", "2107", "two words"]
        );
        assert_eq!(unit.last("Service", "Environment"), Some("A=/run/credentials/a@7.service/x B=a@7.service"));
    }

    #[test]
    fn drop_ins_add_to_lists_and_replace_the_rest_the_nearest_last() {
        let (_dir, root) = root_with(&[
            ("usr/lib/systemd/system/a-b@.service", "[Service]\nExecStart=/bin/a\nRestartSec=1\nEnvironment=A=1\n"),
            ("etc/systemd/system/a-.service.d/x.conf", "[Service]\nEnvironment=A=2\nRestartSec=2\n"),
            ("etc/systemd/system/a-b@.service.d/x.conf", "[Service]\nExecStart=\nExecStart=/bin/b\nRestartSec=3\n"),
            ("etc/systemd/system/a-b@1.service.d/x.conf", "[Service]\nRestartSec=4\n"),
        ]);
        let values = |unit: &str| {
            let unit = Unit::load(&root, unit).unwrap();
            let own = |key| unit.all("Service", key).join(" ");
            (own("ExecStart"), own("Environment"), unit.last("Service", "RestartSec").unwrap().to_owned())
        };
        assert_eq!(values("a-b@1"), ("/bin/b".to_owned(), "A=1 A=2".to_owned(), "4".to_owned()));
        assert_eq!(values("a-b@2").2, "3");
    }

    #[test]
    fn a_file_that_is_no_unit_is_refused() {
        let (_dir, root) = root_with(&[
            ("etc/systemd/system/a.service", "[Service]\nExecStart=/bin/a %Z\n"),
            ("etc/systemd/system/b.service", "[Service]\nExecStart\n"),
        ]);
        assert!(Unit::load(&root, "a").unwrap_err().to_string().contains("%Z"));
        assert!(Unit::load(&root, "b").unwrap_err().to_string().contains("not a setting"));
        assert!(Unit::load(&root, "c").unwrap_err().to_string().contains("not found"));
        assert!(words("\"open").is_err());
    }
}
