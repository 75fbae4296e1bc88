//! Known settings: the names that the environment or `.env` may set.

/// Known settings, from a list with one name per line. Empty lines and lines that start with `#` are skipped; the word
/// `secret` after a name marks values that are never printed.
#[derive(Debug, Clone)]
pub struct Settings(Vec<(&'static str, bool)>);

impl Settings {
    /// Parses a list.
    pub fn parse(list: &'static str) -> Self {
        let lines = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(
            lines
                .map(|line| line.split_once(' ').map_or((line, false), |(name, note)| (name, note == "secret")))
                .collect(),
        )
    }

    /// Whether the list has this name.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// All names, in the order of the list.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    /// The names whose values are never printed.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter(|(_, is_secret)| *is_secret).map(|(name, _)| *name)
    }

    /// The prefix that a variable shares with a setting, such as `CANDLEWIRE_`; `None` when it shares none.
    pub(crate) fn prefix_of(&self, variable: &str) -> Option<&'static str> {
        let prefixes = self.names().filter_map(|name| Some(&name[..=name.find('_')?]));
        prefixes.into_iter().find(|prefix| variable.starts_with(prefix))
    }
}
