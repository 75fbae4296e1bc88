//! Slots of a row: the meanings of the fields that are read.

/// Names of the columns of candlewire's own CSV files, in documented order. Time and close are required. Open, high and
/// low are all present or all absent.
pub const COLUMNS: [&str; 8] = ["timestamp_ms", "open", "high", "low", "close", "volume", "id", "quote_volume"];

/// Meaning of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Begin of a candle, end of a candle, or time of a price.
    Time,
    Open,
    High,
    Low,
    /// Close of a candle, or a price.
    Close,
    /// Volume in coins.
    Volume,
    /// Id of a trade.
    Id,
    /// Volume in quote currency.
    QuoteVolume,
}

/// Number of slots.
pub(crate) const SLOTS: usize = COLUMNS.len();

/// Fields of a line, by slot.
pub(crate) type Cells<'a> = [Option<&'a [u8]>; SLOTS];

impl Slot {
    /// All slots, in the order of [`COLUMNS`].
    pub(crate) const ALL: [Self; SLOTS] =
        [Self::Time, Self::Open, Self::High, Self::Low, Self::Close, Self::Volume, Self::Id, Self::QuoteVolume];
    /// The slots that make a row a candle.
    pub(crate) const CANDLE: [Self; 3] = [Self::Open, Self::High, Self::Low];

    /// Returns the name of the slot in `--columns` and in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            _ => COLUMNS[self as usize],
        }
    }

    /// Returns the slot with this name; `price` is another name of the close.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name == "price" {
            return Some(Self::Close);
        }
        Self::ALL.into_iter().find(|slot| slot.name() == name)
    }

    /// Whether the slot holds a price or a volume.
    pub(crate) fn is_amount(self) -> bool {
        !matches!(self, Self::Time | Self::Id)
    }
}
