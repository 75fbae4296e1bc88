//! Columns of every Parquet file: names, types and encodings.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

/// Coin of the tick.
pub const COIN: &str = "coin";
/// Quote currency of the tick.
pub const QUOTE: &str = "quote";
/// Event time of the tick.
pub const EVENT: &str = "event_ms";
/// Length of a bar in milliseconds; null for a point.
pub const GRAIN: &str = "grain_ms";
/// Span before the event time that the tick's source certifies as complete, in milliseconds; null when it certifies
/// nothing.
pub const COMPLETE: &str = "complete_ms";
/// Id of the tick at its source; null when the source gives none. An id of 2^63 or more, which no exchange uses, is
/// stored as id − 2^64, a negative number that no other id has.
pub const ID: &str = "id";
/// Open in quote currency; null for a quote, which has only a close.
pub const OPEN: &str = "open";
/// High in quote currency; null for a quote.
pub const HIGH: &str = "high";
/// Low in quote currency; null for a quote.
pub const LOW: &str = "low";
/// Close in quote currency. In predictions it is the actual value: the close, or log(high ÷ low) for the recipe
/// `volatility`.
pub const CLOSE: &str = "close";
/// Volume in units of the coin; null when unknown.
pub const VOLUME: &str = "volume";
/// Sequence of the FEED message that holds the tick.
pub const FEED_SEQ: &str = "feed_seq";
/// Sequence of the MARKET message that accepted the tick.
pub const MARKET_SEQ: &str = "market_seq";

/// End of the predicted candle.
pub const TIMESTAMP: &str = "timestamp";
/// Prediction, in the unit that the file's metadata gives as `candlewire.unit`.
pub const PREDICTION: &str = "prediction";
/// Prediction of the naive baseline: the last close known at prediction time, or the baseline that
/// `candlewire.baseline` names.
pub const BASELINE: &str = "baseline";
/// Lower end of the 90 % interval. Other levels have columns such as `lower_50`.
pub const LOWER: &str = "lower";
/// Upper end of the 90 % interval. Other levels have columns such as `upper_50`.
pub const UPPER: &str = "upper";
/// Part of the data that a prediction belongs to: `1`…`n`, `holdout`, or `test` for a random split.
pub const FOLD: &str = "fold";

/// Unit of predictions that are not prices.
pub const LOG_RANGE: &str = "log(high/low)";

/// Metadata key of an archive file: the identity of its MARKET stream as JSON.
pub const SOURCE_KEY: &str = "candlewire.source";

/// Rows per row group, at most. It bounds the memory of reading and writing to some tens of megabytes.
const ROW_GROUP_ROWS_MAX: usize = 1 << 18;

/// zstd level. Level 1 misses repetitions in small integers; levels from 4 on take several times as long and save a
/// tenth.
const ZSTD_LEVEL: i32 = 3;

/// Type of time columns: milliseconds in UTC, which DuckDB, Polars, pandas and Spark all read as a time.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// Type of text columns with few distinct values: dictionary-encoded.
pub fn name_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Returns the columns of an archive file. Integers are signed, because Spark reads unsigned 64-bit integers as
/// decimals.
pub fn ticks() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(COIN, name_type(), false),
        Field::new(QUOTE, name_type(), false),
        Field::new(EVENT, timestamp_type(), false),
        Field::new(GRAIN, DataType::Int64, true),
        Field::new(COMPLETE, DataType::Int64, true),
        Field::new(ID, DataType::Int64, true),
        Field::new(OPEN, DataType::Float64, true),
        Field::new(HIGH, DataType::Float64, true),
        Field::new(LOW, DataType::Float64, true),
        Field::new(CLOSE, DataType::Float64, false),
        Field::new(VOLUME, DataType::Float64, true),
        Field::new(FEED_SEQ, DataType::Int64, false),
        Field::new(MARKET_SEQ, DataType::Int64, false),
    ]))
}

/// Returns the columns of `predictions.parquet`. `other_levels` are the interval levels in percent besides 90.
pub fn predictions(other_levels: &[u8]) -> SchemaRef {
    let mut fields = vec![
        Field::new(TIMESTAMP, timestamp_type(), false),
        Field::new(CLOSE, DataType::Float64, false),
        Field::new(PREDICTION, DataType::Float64, false),
        Field::new(BASELINE, DataType::Float64, false),
        Field::new(LOWER, DataType::Float64, true),
        Field::new(UPPER, DataType::Float64, true),
    ];
    for level in other_levels {
        fields.push(Field::new(lower_of(*level), DataType::Float64, true));
        fields.push(Field::new(upper_of(*level), DataType::Float64, true));
    }
    fields.push(Field::new(FOLD, DataType::Utf8, false));
    Arc::new(Schema::new(fields))
}

/// Returns the column of the lower interval end at a level other than 90 %.
pub fn lower_of(level: u8) -> String {
    format!("{LOWER}_{level}")
}

/// Returns the column of the upper interval end at a level other than 90 %.
pub fn upper_of(level: u8) -> String {
    format!("{UPPER}_{level}")
}

/// Returns the writer properties for a file of this schema. They use only features that every Parquet reader supports:
/// the encodings of Parquet 1.0 (dictionary for text, plain for numbers), data pages of version 1, zstd, and statistics
/// for pruning. Spark's vectorized reader, fastparquet and older Trino do not support `BYTE_STREAM_SPLIT`, and some do
/// not support `DELTA_BINARY_PACKED`.
///
/// Plain numbers also compress better: zstd finds the repetitions in decimal prices and regular times. A dictionary of
/// mostly distinct values, or split bytes, would hide these repetitions.
///
/// # Panics
/// Never: the zstd level is valid.
pub fn writer_properties(schema: &Schema, metadata: Vec<KeyValue>) -> WriterProperties {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("zstd has this level");
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_key_value_metadata((!metadata.is_empty()).then_some(metadata));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        properties = properties.set_column_dictionary_enabled(column, is_text(field.data_type()));
    }
    properties.build()
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Dictionary(..))
}
