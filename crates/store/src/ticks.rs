//! Conversion between ticks and the columns of an archive file.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringDictionaryBuilder, TimestampMillisecondBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType, UInt64Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, RecordBatch, StringArray, new_null_array,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field};
use market::{EventTime, Instrument, Span, Tick};

use crate::schema;

/// Rows in the columns of an archive file.
pub type Batch = RecordBatch;

/// Builder of a batch of archive rows.
pub struct TickRows {
    coin: StringDictionaryBuilder<Int32Type>,
    quote: StringDictionaryBuilder<Int32Type>,
    event: TimestampMillisecondBuilder,
    grain: Int64Builder,
    complete: Int64Builder,
    id: Int64Builder,
    open: Float64Builder,
    high: Float64Builder,
    low: Float64Builder,
    close: Float64Builder,
    volume: Float64Builder,
    feed_seq: Int64Builder,
    market_seq: Int64Builder,
    quote_volume: Float64Builder,
    filled: BooleanBuilder,
    len: usize,
}

impl Default for TickRows {
    fn default() -> Self {
        Self {
            coin: StringDictionaryBuilder::new(),
            quote: StringDictionaryBuilder::new(),
            event: TimestampMillisecondBuilder::new().with_data_type(schema::timestamp_type()),
            grain: Int64Builder::new(),
            complete: Int64Builder::new(),
            id: Int64Builder::new(),
            open: Float64Builder::new(),
            high: Float64Builder::new(),
            low: Float64Builder::new(),
            close: Float64Builder::new(),
            volume: Float64Builder::new(),
            feed_seq: Int64Builder::new(),
            market_seq: Int64Builder::new(),
            quote_volume: Float64Builder::new(),
            filled: BooleanBuilder::new(),
            len: 0,
        }
    }
}

impl TickRows {
    /// Adds a tick that the MARKET message `market_seq` accepted.
    ///
    /// # Panics
    /// A sequence is 2^63 or more, which no stream reaches.
    pub fn push(&mut self, instrument: &Instrument, tick: &Tick, market_seq: u64) {
        const SEQUENCE: &str = "a stream's sequences fit 63 bits";
        self.coin.append_value(instrument.coin());
        self.quote.append_value(instrument.quote());
        self.event.append_value(tick.event.ms());
        self.grain.append_option(tick.grain.map(Span::ms));
        self.complete.append_option(tick.complete.map(Span::ms));
        self.id.append_option(tick.id.map(u64::cast_signed));
        // A quote has one price. Three more copies of it would take more space than the rest of the row.
        let unless_quote = |price: f64| (!is_quote(tick)).then_some(price);
        self.open.append_option(unless_quote(tick.open));
        self.high.append_option(unless_quote(tick.high));
        self.low.append_option(unless_quote(tick.low));
        self.close.append_value(tick.close);
        self.volume.append_option(tick.volume);
        self.feed_seq.append_value(i64::try_from(tick.feed_seq).expect(SEQUENCE));
        self.market_seq.append_value(i64::try_from(market_seq).expect(SEQUENCE));
        self.quote_volume.append_option(tick.quote_volume);
        self.filled.append_value(tick.filled);
        self.len += 1;
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the rows as a batch of [`schema::ticks`].
    ///
    /// # Panics
    /// Never: every row has a value in every column.
    pub fn into_batch(mut self) -> Batch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.coin.finish()),
            Arc::new(self.quote.finish()),
            Arc::new(self.event.finish()),
            Arc::new(self.grain.finish()),
            Arc::new(self.complete.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.open.finish()),
            Arc::new(self.high.finish()),
            Arc::new(self.low.finish()),
            Arc::new(self.close.finish()),
            Arc::new(self.volume.finish()),
            Arc::new(self.feed_seq.finish()),
            Arc::new(self.market_seq.finish()),
            Arc::new(self.quote_volume.finish()),
            Arc::new(self.filled.finish()),
        ];
        RecordBatch::try_new(schema::ticks(), columns).expect("columns are built by the schema")
    }
}

/// Whether a tick is a quote: one price and no volume. A recorded candle with a constant price still has a volume, at
/// least 0, and keeps all its columns.
fn is_quote(tick: &Tick) -> bool {
    tick.volume.is_none() && tick.open == tick.close && tick.high == tick.close && tick.low == tick.close
}

/// Calls `each` for every row of a batch of archived ticks, with its instrument and MARKET sequence.
///
/// # Errors
/// The batch does not [`conform`], or a name is not valid for an instrument.
pub fn for_each_tick(batch: &RecordBatch, mut each: impl FnMut(&Instrument, Tick, u64)) -> Result<(), ArrowError> {
    let batch = conform(batch)?;
    let column = |name: &str| batch.column_by_name(name).expect("a conforming batch has every column");
    let event = column(schema::EVENT).as_primitive::<TimestampMillisecondType>().values();
    let [grain, complete, id, feed_seq, market_seq] =
        [schema::GRAIN, schema::COMPLETE, schema::ID, schema::FEED_SEQ, schema::MARKET_SEQ]
            .map(|name| column(name).as_primitive::<Int64Type>());
    let [open, high, low, close, volume, quote_volume] =
        [schema::OPEN, schema::HIGH, schema::LOW, schema::CLOSE, schema::VOLUME, schema::QUOTE_VOLUME]
            .map(|name| column(name).as_primitive::<Float64Type>());
    let filled = column(schema::FILLED).as_boolean();
    let mut instruments = Instruments::new([schema::COIN, schema::QUOTE].map(column));
    for row in 0..batch.num_rows() {
        let close = close.value(row);
        let tick = Tick {
            event: EventTime(event[row]),
            grain: value(grain, row).map(Span),
            complete: value(complete, row).map(Span),
            id: value(id, row).map(i64::cast_unsigned),
            open: value(open, row).unwrap_or(close),
            high: value(high, row).unwrap_or(close),
            low: value(low, row).unwrap_or(close),
            close,
            volume: value(volume, row),
            quote_volume: value(quote_volume, row),
            filled: filled.value(row),
            feed_seq: feed_seq.value(row).cast_unsigned(),
        };
        each(instruments.of(row)?, tick, market_seq.value(row).cast_unsigned());
    }
    Ok(())
}

/// Converts a batch of archived ticks to the columns of [`schema::ticks`]. Another program may have rewritten the file
/// with plain text, other integer types or additional columns; the ticks are the same. A file from before a column was
/// added gets the value that its ticks had.
///
/// # Errors
/// A column is missing, has an inconvertible type, or holds a value that no archived tick can have.
pub fn conform(batch: &RecordBatch) -> Result<Batch, ArrowError> {
    let ours = schema::ticks();
    if batch.schema_ref().fields() == ours.fields() {
        return Ok(batch.clone());
    }
    let columns = ours.fields().iter().map(|field| column(batch, field)).collect::<Result<_, _>>()?;
    RecordBatch::try_new(ours, columns)
}

fn column(batch: &RecordBatch, field: &Field) -> Result<ArrayRef, ArrowError> {
    let Some(column) = batch.column_by_name(field.name()) else {
        let no_column = || ArrowError::SchemaError(format!("no column {}", field.name()));
        return before_it_was_added(field, batch.num_rows()).ok_or_else(no_column);
    };
    match (column.data_type(), field.data_type()) {
        (theirs, ours) if theirs == ours => Ok(Arc::clone(column)),
        // An id has 64 bits, whether they are read as signed or unsigned.
        (DataType::UInt64, DataType::Int64) if field.name() == schema::ID => {
            Ok(Arc::new(column.as_primitive::<UInt64Type>().unary::<_, Int64Type>(u64::cast_signed)))
        }
        // The default options would turn a value that does not fit into null.
        (_, ours) => cast_with_options(column, ours, &CastOptions { safe: false, ..CastOptions::default() }),
    }
}

/// Returns the column of a file from before the column was added; `None` for a column that every file has.
fn before_it_was_added(field: &Field, rows: usize) -> Option<ArrayRef> {
    match field.name().as_str() {
        schema::QUOTE_VOLUME => Some(new_null_array(field.data_type(), rows)),
        schema::FILLED => Some(Arc::new(BooleanArray::from(vec![false; rows]))),
        _ => None,
    }
}

fn value<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    column.is_valid(row).then(|| column.value(row))
}

/// Instruments of a batch's rows. It caches the last one, because rows of one instrument mostly follow each other.
struct Instruments<'a> {
    coin_keys: &'a [i32],
    quote_keys: &'a [i32],
    coins: &'a StringArray,
    quotes: &'a StringArray,
    last: Option<(i32, i32, Instrument)>,
}

impl<'a> Instruments<'a> {
    fn new(names: [&'a ArrayRef; 2]) -> Self {
        let [coin, quote] = names.map(|names| names.as_dictionary::<Int32Type>());
        Self {
            coin_keys: coin.keys().values(),
            quote_keys: quote.keys().values(),
            coins: coin.values().as_string(),
            quotes: quote.values().as_string(),
            last: None,
        }
    }

    fn of(&mut self, row: usize) -> Result<&Instrument, ArrowError> {
        let (coin, quote) = (self.coin_keys[row], self.quote_keys[row]);
        let same = self.last.take().filter(|last| (last.0, last.1) == (coin, quote));
        let (coin_name, quote_name) = (self.coins.value(coin as usize), self.quotes.value(quote as usize));
        let last = match same {
            Some(last) => last,
            None => {
                let instrument = Instrument::new(coin_name, quote_name);
                (coin, quote, instrument.map_err(|error| ArrowError::ExternalError(error.into()))?)
            }
        };
        Ok(&self.last.insert(last).2)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, Int32Array, UInt64Array};
    use proptest::prelude::*;

    use super::*;

    fn any_tick() -> impl Strategy<Value = Tick> {
        let prices = prop::array::uniform4(1e-15..1e15_f64);
        let span = || prop::option::of((1_i64..100_000_000).prop_map(Span));
        let volume = || prop::option::of(prop_oneof![Just(0.0), 1e-9..1e21_f64]);
        let (volumes, flags) = ((volume(), volume()), any::<(bool, bool)>());
        let spans = (span(), span());
        (0_i64..4_000_000_000_000, spans, prop::option::of(any::<u64>()), prices, volumes, flags).prop_map(
            |(event, (grain, complete), id, [open, high, low, close], (volume, quote_volume), (quote, filled))| {
                let [open, high, low] = [open, high, low].map(|price| if quote { close } else { price });
                Tick {
                    event: EventTime(event),
                    grain,
                    complete,
                    id,
                    open,
                    high,
                    low,
                    close,
                    volume,
                    quote_volume,
                    filled,
                    feed_seq: 7,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn every_tick_comes_back_as_it_was(ticks in prop::collection::vec((any_tick(), 0_usize..3, 1_u64..1 << 62), 0..40)) {
            let instruments = [("bitcoin", "usd"), ("ethereum", "usd"), ("bitcoin", "eur")]
                .map(|(coin, quote)| Instrument::new(coin, quote).expect("valid"));
            let mut rows = TickRows::default();
            for (tick, instrument, market_seq) in &ticks {
                rows.push(&instruments[*instrument], tick, *market_seq);
            }
            prop_assert_eq!(rows.len(), ticks.len());
            let mut back = Vec::new();
            for_each_tick(&rows.into_batch(), |instrument, tick, market_seq| back.push((instrument.clone(), tick, market_seq)))
                .expect("our own columns");
            let expected: Vec<_> = ticks.into_iter().map(|(tick, idx, seq)| (instruments[idx].clone(), tick, seq)).collect();
            prop_assert_eq!(back, expected);
        }
    }

    fn bitcoin() -> Instrument {
        Instrument::new("bitcoin", "usd").expect("valid")
    }

    fn trade(id: u64) -> Tick {
        Tick { id: Some(id), feed_seq: 1, ..Tick::point(EventTime(7), 5.0) }
    }

    fn read(batch: &RecordBatch) -> Result<Vec<Tick>, ArrowError> {
        let mut ticks = Vec::new();
        for_each_tick(batch, |_, tick, _| ticks.push(tick))?;
        Ok(ticks)
    }

    /// Returns the batch with the named column replaced.
    fn with(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
        let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, kept)| {
            let column = if field.name() == name { &column } else { kept };
            (field.name().clone(), Arc::clone(column), true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
    }

    #[test]
    fn columns_rewritten_by_another_program_give_the_same_ticks() {
        let ticks = [trade(1), trade(u64::MAX)];
        let mut rows = TickRows::default();
        ticks.iter().for_each(|tick| rows.push(&bitcoin(), tick, 3));
        let batch = rows.into_batch();
        let batch = with(&batch, schema::ID, Arc::new(UInt64Array::from(vec![1, u64::MAX])));
        let batch = with(&batch, schema::COIN, Arc::new(StringArray::from(vec!["bitcoin"; 2])));
        let batch = with(&batch, schema::FEED_SEQ, Arc::new(Int32Array::from(vec![1, 1])));
        assert_eq!(read(&batch).expect("the same ticks"), ticks);
        assert_eq!(conform(&batch).expect("the same ticks").schema(), schema::ticks());
    }

    #[test]
    fn files_from_before_a_column_was_added_are_read() {
        let ticks = [trade(1), trade(2)];
        let mut rows = TickRows::default();
        ticks
            .iter()
            .for_each(|tick| rows.push(&bitcoin(), &Tick { quote_volume: Some(3.0), filled: true, ..*tick }, 3));
        let batch = rows.into_batch();
        let is_old = |name: &String| ![schema::QUOTE_VOLUME, schema::FILLED].contains(&name.as_str());
        let columns = batch.schema_ref().fields().iter().map(|field| field.name());
        let old: Vec<usize> = columns.enumerate().filter(|(_, name)| is_old(name)).map(|(idx, _)| idx).collect();
        assert_eq!(old.len(), 13);
        let batch = batch.project(&old).expect("the columns of before");
        assert_eq!(read(&batch).expect("the same ticks"), ticks);
        assert_eq!(conform(&batch).expect("the same ticks").schema(), schema::ticks());
    }

    #[test]
    fn columns_that_no_archived_tick_has_are_named() {
        let mut rows = TickRows::default();
        rows.push(&bitcoin(), &trade(1), 3);
        let batch = rows.into_batch();
        let without = batch.project(&[0, 1, 2, 3]).expect("four columns");
        let null = with(&batch, schema::CLOSE, Arc::new(Float64Array::from(vec![None])));
        let large = with(&batch, schema::MARKET_SEQ, Arc::new(UInt64Array::from(vec![u64::MAX])));
        let text = with(&batch, schema::GRAIN, Arc::new(StringArray::from(vec!["a minute"])));
        let unknown = with(&batch, schema::FILLED, Arc::new(BooleanArray::from(vec![None])));
        for (batch, expected) in [
            (without, "no column complete_ms"),
            (null, "close"),
            (large, "18446744073709551615"),
            (text, "a minute"),
            (unknown, "filled"),
        ] {
            let error = read(&batch).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_quote_stores_one_price_and_a_still_candle_four() {
        let mut rows = TickRows::default();
        rows.push(&bitcoin(), &trade(1), 1);
        rows.push(&bitcoin(), &Tick { volume: Some(0.0), ..trade(2) }, 2);
        let batch = rows.into_batch();
        for column in [schema::OPEN, schema::HIGH, schema::LOW] {
            let column = batch.column_by_name(column).expect("a column");
            assert_eq!((column.is_null(0), column.is_null(1)), (true, false));
        }
    }
}
