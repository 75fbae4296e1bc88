//! Columns that name the instrument of a row. A recording must hold one instrument of one market.

use super::header::excerpt;
use super::number;
use super::rows::Line;

/// Names of such columns.
const CALLED: [&str; 12] = [
    "symbol",
    "coin",
    "pair",
    "ticker",
    "market",
    "instrument",
    "exchange",
    "asset",
    "quote",
    "base",
    "venue",
    "currency",
];

/// Whether a column with this name names an instrument.
pub(crate) fn is_name(header: &[u8]) -> bool {
    CALLED.iter().any(|called| header.eq_ignore_ascii_case(called.as_bytes()))
}

/// Instrument names in the rows of one file.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Names in the first row; `None` for a number, which does not name an instrument.
    first: Option<(u32, Vec<Option<Vec<u8>>>)>,
    /// First name that differs: its line, its column, and both names.
    other: Option<Other>,
}

#[derive(Debug)]
struct Other {
    line: u32,
    column: String,
    first: (u32, String),
    name: String,
}

impl Names {
    /// Adds a row.
    pub(crate) fn note(&mut self, line: &Line<'_>) {
        if self.other.is_some() || line.name_titles().next().is_none() {
            return;
        }
        let named = |name: &[u8]| (!name.is_empty() && number::plain_of(name).is_none()).then(|| name.to_vec());
        let names = line.names();
        let (first_line, first) =
            self.first.get_or_insert_with(|| (line.number, names.iter().map(|name| named(name)).collect()));
        let other = line.name_titles().zip(&names).zip(first.iter()).find_map(|((column, name), first)| {
            let first = first.as_deref().filter(|first| !name.is_empty() && *first != name.as_ref())?;
            Some(Other {
                line: line.number,
                column: excerpt(column.as_bytes()),
                first: (*first_line, excerpt(first)),
                name: excerpt(name),
            })
        });
        self.other = other;
    }

    /// Checks that all rows are of one instrument.
    ///
    /// # Errors
    /// The first line with another name, and advice.
    pub(crate) fn judge(&self) -> Result<(), (u32, String)> {
        let Some(Other { line, column, first: (first_line, first), name }) = &self.other else { return Ok(()) };
        let problem = format!(
            "its {column} is {name}, and that of line {first_line} is {first}: a file holds one instrument of one market; write \
             one file for each, and rename the column if it holds something else"
        );
        Err((*line, problem))
    }
}
