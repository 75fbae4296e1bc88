//! Reads the ticks of MARKET: one function, so that the archive and the forecasts accept the same lines.

use bus::codec::LineReader;
use market::validate::revalidate;
use market::{Instrument, Tick};

/// Returns the tick of the next line of a message; `None` for a line that is not a valid tick. The pipeline writes no
/// such line.
pub(crate) fn tick_of<'a>(reader: &mut LineReader<'a>, line: &'a [u8], instrument: &Instrument) -> Option<Tick> {
    let price = reader.price(line).ok()?;
    revalidate(&price, instrument).ok()
}
