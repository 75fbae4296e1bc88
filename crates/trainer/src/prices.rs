//! The prices of a MARKET message: the archive and the forecasts must take the same lines for ticks.

use bus::codec::LineReader;
use market::validate::revalidate;
use market::{Instrument, Tick};

/// The tick of the next line of a message; `None` for a line that is none, which no writer of ours has written.
pub(crate) fn tick_of<'a>(reader: &mut LineReader<'a>, line: &'a [u8], instrument: &Instrument) -> Option<Tick> {
    let price = reader.price(line).ok()?;
    revalidate(&price, instrument).ok()
}
