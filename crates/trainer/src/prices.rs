//! The prices of a MARKET message: the archive and the forecasts must take the same lines for ticks.

use bus::codec::read_price;
use market::validate::revalidate;
use market::{Instrument, Tick};

/// The tick of a line; `None` for a line that is none, which no writer of ours has written.
pub(crate) fn tick_of(line: &[u8], instrument: &Instrument) -> Option<Tick> {
    let price = read_price(line).ok()?;
    revalidate(&price, instrument).ok()
}
