//! Columns of every Parquet file: names, types, encodings.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

/// Coin of a tick.
pub const COIN: &str = "coin";
/// Quote currency of a tick.
pub const QUOTE: &str = "quote";
/// Event time of a tick.
pub const EVENT: &str = "event_ms";
/// Length of a bar in milliseconds; null for a point.
pub const GRAIN: &str = "grain_ms";
/// How far back from its event time a tick's source is certified, in milliseconds; null when it certifies nothing.
pub const COMPLETE: &str = "complete_ms";
/// The source's number for a tick, where it has one. An id of 2^63 or more, which no exchange uses, is stored as
/// id − 2^64: below zero, where no other id is.
pub const ID: &str = "id";
/// Open; null for a quote, which has only a close.
pub const OPEN: &str = "open";
/// High; null for a quote.
pub const HIGH: &str = "high";
/// Low; null for a quote.
pub const LOW: &str = "low";
/// Close, in quote currency; in predictions the truth: the close, or log(high ÷ low) for the recipe `volatility`.
pub const CLOSE: &str = "close";
/// Volume in units of the coin; null when unknown.
pub const VOLUME: &str = "volume";
/// Sequence of the FEED message that brought a tick.
pub const FEED_SEQ: &str = "feed_seq";
/// Sequence of the MARKET message that accepted it.
pub const MARKET_SEQ: &str = "market_seq";

/// End of the predicted candle.
pub const TIMESTAMP: &str = "timestamp";
/// The prediction, in the unit that the file's metadata names (`candlewire.unit`).
pub const PREDICTION: &str = "prediction";
/// What doing nothing predicts: the last close known when predicting, or what `candlewire.baseline` names.
pub const BASELINE: &str = "baseline";
/// Lower end of the 90 % interval; of the others `lower_50` and so on.
pub const LOWER: &str = "lower";
/// Upper end of the 90 % interval; of the others `upper_50` and so on.
pub const UPPER: &str = "upper";
/// Which part of the data a prediction is of: `1`…`n`, `holdout`, or `test` of a random split.
pub const FOLD: &str = "fold";

/// The unit of predictions that are of no price.
pub const LOG_RANGE: &str = "log(high/low)";

/// File metadata: which MARKET stream an archive was made from, as JSON of its identity.
pub const SOURCE_KEY: &str = "candlewire.source";

/// Rows in a row group: bounds the memory of reading and writing to some tens of megabytes.
const ROW_GROUP_ROWS_MAX: usize = 1 << 18;

/// Level 1 finds nothing in small whole numbers that repeat; levels from 4 on take several times as long for a tenth less.
const ZSTD_LEVEL: i32 = 3;

/// Milliseconds, UTC: read as a time by DuckDB, Polars, pandas and Spark alike.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// Text of which a file has few different values.
pub fn name_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Columns of an archive file. Whole numbers are signed, because Spark reads unsigned 64-bit numbers as decimals.
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

/// Columns of `predictions.parquet`, whose intervals have the given levels in percent beside 90.
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

/// The column of the lower end at a level other than 90 %.
pub fn lower_of(level: u8) -> String {
    format!("{LOWER}_{level}")
}

/// The column of the upper end at a level other than 90 %.
pub fn upper_of(level: u8) -> String {
    format!("{UPPER}_{level}")
}

/// How a file of this schema is written: as every reader of Parquet reads it, so with the encodings of Parquet 1.0 (text as
/// a dictionary, numbers plain), pages of version 1 and zstd, with statistics for pruning. Spark's vectorized reader,
/// fastparquet and older Trino know no `BYTE_STREAM_SPLIT`, and some no `DELTA_BINARY_PACKED`.
///
/// Plain numbers are also the smaller ones: zstd finds what decimal prices and regular times repeat, which a dictionary of
/// mostly different values and bytes that are split hide from it.
///
/// # Panics
/// Never: zstd has the level that is asked for.
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
