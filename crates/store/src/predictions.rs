//! `predictions.parquet`: predictions for rows that the model was not fitted to, beside the actual values.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMillisecondType};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, Float64Array, PrimitiveArray, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_schema::ArrowError;
use bytes::Bytes;
use market::EventTime;
use market::band::{Band, Bands, LEVEL_MAIN, LEVELS};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::ChunkReader;

use crate::schema;

/// One row of predictions, for a candle (or tick) of a validation fold or of the holdout.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// End of the predicted candle.
    pub timestamp: EventTime,
    /// Actual value: the close, or log(high ÷ low) of the candles within the horizon.
    pub close: f64,
    /// Prediction of the model.
    pub prediction: f64,
    /// Prediction of the naive baseline: the last close known at prediction time, or a running average of the range.
    pub baseline: f64,
    /// Prediction intervals, in the order of [`LEVELS`]; `None` where too few rows were available for calibration.
    pub bands: Bands,
    /// Part of the data that the row belongs to.
    pub fold: Fold,
}

/// A part of the data on which predictions are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fold {
    /// A rolling-origin fold inside the training part, counted from 1.
    Validation(usize),
    /// The last rows in time, which no fit and no model choice has used.
    Holdout,
    /// The held-out rows of a random split.
    Test,
}

impl Fold {
    /// Whether no fit and no model choice has used the rows: the holdout, or the held-out rows of a random split.
    pub fn is_held_out(self) -> bool {
        matches!(self, Self::Holdout | Self::Test)
    }
}

impl fmt::Display for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Validation(number) => write!(f, "{number}"),
            Self::Holdout => f.write_str("holdout"),
            Self::Test => f.write_str("test"),
        }
    }
}

/// The error of parsing a text that names no part of the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown fold {0:?}: a number, holdout or test")]
pub struct UnknownFold(String);

impl FromStr for Fold {
    type Err = UnknownFold;

    fn from_str(text: &str) -> Result<Self, UnknownFold> {
        match text {
            "holdout" => Ok(Self::Holdout),
            "test" => Ok(Self::Test),
            number => number.parse().map(Self::Validation).map_err(|_| UnknownFold(text.to_owned())),
        }
    }
}

/// Error of reading or writing predictions.
#[derive(Debug, thiserror::Error)]
pub enum PredictionsError {
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not Parquet, or is truncated.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// The file does not have the columns of predictions.
    #[error(transparent)]
    Columns(#[from] ArrowError),
    /// A row has an unknown fold.
    #[error(transparent)]
    Fold(#[from] UnknownFold),
}

/// Writes predictions as Parquet, with `notes` (recipe, interval, split …) in the file's metadata. Equal predictions
/// give equal bytes.
///
/// # Errors
/// Writing to `to` fails.
pub fn write(to: impl Write + Send, rows: &[Prediction], notes: &[(&str, String)]) -> Result<(), PredictionsError> {
    let columns = schema::predictions(&other_levels());
    let notes = notes.iter().map(|(key, value)| KeyValue::new(format!("candlewire.{key}"), value.clone())).collect();
    let properties = schema::writer_properties(&columns, notes);
    let mut writer = ArrowWriter::try_new(to, columns, Some(properties))?;
    writer.write(&to_batch(rows)?)?;
    writer.close()?;
    Ok(())
}

/// Reads predictions, in the order in which they were written.
///
/// # Errors
/// The file is missing, damaged, or holds other data.
pub fn read(path: &Path) -> Result<Vec<Prediction>, PredictionsError> {
    read_from(std::fs::File::open(path)?)
}

/// Reads predictions from the content of a file, in the order in which they were written.
///
/// # Errors
/// The content is damaged, or of other data.
pub fn from_bytes(content: Vec<u8>) -> Result<Vec<Prediction>, PredictionsError> {
    read_from(Bytes::from(content))
}

fn read_from(content: impl ChunkReader + 'static) -> Result<Vec<Prediction>, PredictionsError> {
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(content)?.build()? {
        from_batch(&batch?, &mut rows)?;
    }
    Ok(rows)
}

fn other_levels() -> Vec<u8> {
    LEVELS.into_iter().filter(|&level| level != LEVEL_MAIN).collect()
}

/// Returns the columns of an interval's lower and upper end.
fn band_columns(level: u8) -> [String; 2] {
    if level == LEVEL_MAIN {
        [schema::LOWER.to_owned(), schema::UPPER.to_owned()]
    } else {
        [schema::lower_of(level), schema::upper_of(level)]
    }
}

fn to_batch(rows: &[Prediction]) -> Result<RecordBatch, ArrowError> {
    let floats = |of: &dyn Fn(&Prediction) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Float64Array>())
    };
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.timestamp.ms()));
    let mut columns: Vec<(String, ArrayRef)> = vec![
        (schema::TIMESTAMP.to_owned(), Arc::new(times.with_data_type(schema::timestamp_type()))),
        (schema::CLOSE.to_owned(), floats(&|row| Some(row.close))),
        (schema::PREDICTION.to_owned(), floats(&|row| Some(row.prediction))),
        (schema::BASELINE.to_owned(), floats(&|row| Some(row.baseline))),
        (schema::FOLD.to_owned(), Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.fold.to_string())))),
    ];
    for (idx, level) in LEVELS.into_iter().enumerate() {
        let [lower, upper] = band_columns(level);
        columns.push((lower, floats(&|row| row.bands[idx].map(|band| band.lower))));
        columns.push((upper, floats(&|row| row.bands[idx].map(|band| band.upper))));
    }
    let schema = schema::predictions(&other_levels());
    let in_order = schema.fields().iter().map(|field| {
        let column = columns.iter().find(|(name, _)| name == field.name());
        Arc::clone(&column.expect("every column of the schema is filled").1)
    });
    let in_order = in_order.collect();
    RecordBatch::try_new(schema, in_order)
}

fn from_batch(batch: &RecordBatch, rows: &mut Vec<Prediction>) -> Result<(), PredictionsError> {
    let timestamp = column::<TimestampMillisecondType>(batch, schema::TIMESTAMP)?;
    let close = column::<Float64Type>(batch, schema::CLOSE)?;
    let prediction = column::<Float64Type>(batch, schema::PREDICTION)?;
    let baseline = column::<Float64Type>(batch, schema::BASELINE)?;
    let folds = any_column(batch, schema::FOLD)?;
    let folds = folds.as_string_opt::<i32>().ok_or_else(|| other_type(schema::FOLD))?;
    let mut ends = Vec::new();
    for level in LEVELS {
        let [lower, upper] = band_columns(level);
        ends.push((column::<Float64Type>(batch, &lower)?, column::<Float64Type>(batch, &upper)?));
    }
    for row in 0..batch.num_rows() {
        let mut bands = [None; LEVELS.len()];
        for (band, (lower, upper)) in bands.iter_mut().zip(&ends) {
            let known = lower.is_valid(row) && upper.is_valid(row);
            *band = known.then(|| Band { lower: lower.value(row), upper: upper.value(row) });
        }
        rows.push(Prediction {
            timestamp: EventTime(timestamp.value(row)),
            close: close.value(row),
            prediction: prediction.value(row),
            baseline: baseline.value(row),
            bands,
            fold: folds.value(row).parse()?,
        });
    }
    Ok(())
}

fn any_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))
}

fn column<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>, ArrowError> {
    any_column(batch, name)?.as_primitive_opt().ok_or_else(|| other_type(name))
}

fn other_type(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("column {name} is of another type"))
}

#[cfg(test)]
mod tests {
    use market::{Instrument, Span, Tick};

    use super::*;

    fn tick() -> Tick {
        Tick::bar(EventTime(0), Span::MINUTE, [1.0; 4])
    }

    fn prediction(timestamp: i64, fold: Fold, bands: bool) -> Prediction {
        let band = bands.then_some(Band { lower: 90.5, upper: 110.25 });
        Prediction {
            timestamp: EventTime(timestamp),
            close: 101.0,
            prediction: 100.0,
            baseline: 99.0,
            bands: [band, band, band, None],
            fold,
        }
    }

    #[test]
    fn predictions_come_back_and_bytes_are_reproducible() {
        let folder = tempfile::tempdir().expect("a folder");
        let rows = vec![
            prediction(1_583_020_800_000, Fold::Validation(1), false),
            prediction(1_583_020_860_000, Fold::Validation(12), true),
            prediction(1_583_020_920_000, Fold::Holdout, true),
            prediction(1_583_020_980_000, Fold::Test, true),
        ];
        let mut bytes = Vec::new();
        write(&mut bytes, &rows, &[("recipe", "returns".to_owned())]).expect("written");
        let path = folder.path().join("predictions.parquet");
        std::fs::write(&path, &bytes).expect("written");
        assert_eq!(read(&path).expect("readable"), rows);
        assert_eq!(from_bytes(bytes.clone()).expect("readable"), rows);
        let mut again = Vec::new();
        write(&mut again, &rows, &[("recipe", "returns".to_owned())]).expect("written");
        assert_eq!(again, bytes);
    }

    #[test]
    fn columns_have_the_names_that_readers_expect() {
        let schema = schema::predictions(&other_levels());
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let expected = [
            "timestamp",
            "close",
            "prediction",
            "baseline",
            "lower",
            "upper",
            "lower_50",
            "upper_50",
            "lower_80",
            "upper_80",
            "lower_95",
            "upper_95",
            "fold",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_file_of_other_columns_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("predictions.parquet");
        let mut bytes = Vec::new();
        let columns = schema::ticks();
        let mut rows = crate::ticks::TickRows::default();
        rows.push(&Instrument::new("bitcoin", "usd").expect("valid"), &tick(), 1);
        let mut writer = ArrowWriter::try_new(&mut bytes, columns, None).expect("a writer");
        writer.write(&rows.into_batch()).expect("written");
        writer.close().expect("closed");
        std::fs::write(&path, &bytes).expect("written");
        let error = read(&path).expect_err("ticks are no predictions");
        assert!(error.to_string().contains("timestamp"), "{error}");
        assert!(matches!(read(&folder.path().join("missing")), Err(PredictionsError::Io(_))));
        std::fs::write(&path, b"not parquet").expect("written");
        assert!(matches!(read(&path), Err(PredictionsError::Parquet(_))));
    }
}
