//! The list of settings that a program is given: the names that the environment or `.env` may hold.

/// The known settings, from a list with a name a line. Empty lines and lines that begin with `#` are left out; the word
/// `secret` after a name says that its value is never shown.
#[derive(Debug, Clone)]
pub struct Settings(Vec<(&'static str, bool)>);

impl Settings {
    /// Reads a list.
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

    /// Every name, in the order of the list.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    /// The names whose values are never shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter(|(_, is_secret)| *is_secret).map(|(name, _)| *name)
    }

    /// How a variable begins whose name has the same first word as a setting, such as `CANDLEWIRE_`.
    pub(crate) fn prefix_of(&self, variable: &str) -> Option<&'static str> {
        let prefixes = self.names().filter_map(|name| Some(&name[..=name.find('_')?]));
        prefixes.into_iter().find(|prefix| variable.starts_with(prefix))
    }
}
