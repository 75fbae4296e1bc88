//! Parquet as lines of CSV, so that its rows are judged like all others.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, Field, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use super::container::FileSource;

/// Rows in memory at a time.
const BATCH_ROWS: usize = 1_024;

/// Reader of a Parquet file's flat columns as CSV with a header. A time in UTC is written as milliseconds since 1970, a
/// time without zone as text without offset.
pub(crate) struct ParquetText {
    batches: ParquetRecordBatchReader,
    text: Vec<u8>,
    at: usize,
}

impl ParquetText {
    /// Opens a file.
    ///
    /// # Errors
    /// The file is damaged, or has no column that can be read.
    pub(crate) fn open(source: &FileSource) -> Result<Self, String> {
        match source {
            FileSource::Path(path) => {
                let file = File::open(path).map_err(|error| format!("cannot open it: {error}"))?;
                Self::read(file)
            }
            FileSource::Memory(bytes) => Self::read(bytes.clone()),
        }
    }

    fn read<T: ChunkReader + 'static>(file: T) -> Result<Self, String> {
        let damaged =
            |error: ParquetError| format!("this is a Parquet file that cannot be read ({error}); write it again");
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
        let fields: Vec<(usize, &Arc<Field>)> =
            builder.schema().fields().iter().enumerate().filter(|(_, field)| is_flat(field.data_type())).collect();
        if fields.is_empty() {
            return Err("this is a Parquet file without columns of numbers, times or text; name another one".to_owned());
        }
        let titles: Vec<&str> = fields.iter().map(|(_, field)| field.name().as_str()).collect();
        let mut text = Vec::new();
        write_line(&mut text, titles.into_iter());
        let roots = fields.iter().map(|(idx, _)| *idx);
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(damaged)?;
        Ok(Self { batches, text, at: 0 })
    }

    fn fill(&mut self) -> Result<(), ArrowError> {
        self.text.clear();
        self.at = 0;
        while self.text.is_empty() {
            match self.batches.next() {
                Some(batch) => write_batch(&mut self.text, &batch?)?,
                None => break,
            }
        }
        Ok(())
    }
}

impl Read for ParquetText {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.text.len() {
            self.fill().map_err(io::Error::other)?;
        }
        let count = buffer.len().min(self.text.len() - self.at);
        buffer[..count].copy_from_slice(&self.text[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Whether a column has one value a row.
fn is_flat(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_flat(values),
        DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => true,
        other => other.is_numeric(),
    }
}

fn write_batch(text: &mut Vec<u8>, batch: &RecordBatch) -> Result<(), ArrowError> {
    let columns: Vec<ArrayRef> = batch.columns().iter().map(in_ms).collect::<Result<_, _>>()?;
    let options = FormatOptions::default();
    let formatters: Vec<ArrayFormatter<'_>> =
        columns.iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options)).collect::<Result<_, _>>()?;
    for row in 0..batch.num_rows() {
        let fields: Vec<String> =
            formatters.iter().map(|formatter| formatter.value(row).try_to_string()).collect::<Result<_, _>>()?;
        write_line(text, fields.iter().map(String::as_str));
    }
    Ok(())
}

/// Converts a column of times in UTC to milliseconds.
fn in_ms(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Timestamp(_, Some(zone)) => {
            let ms = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, Some(Arc::clone(zone))))?;
            cast(&ms, &DataType::Int64)
        }
        _ => Ok(Arc::clone(column)),
    }
}

fn write_line<'a>(text: &mut Vec<u8>, fields: impl Iterator<Item = &'a str>) {
    for (idx, field) in fields.enumerate() {
        if idx > 0 {
            text.push(b',');
        }
        if field.contains([',', '"', '\n', '\r']) {
            let quoted = format!("\"{}\"", field.replace(['"', '\n', '\r'], " "));
            text.extend_from_slice(quoted.as_bytes());
        } else {
            text.extend_from_slice(field.as_bytes());
        }
    }
    text.push(b'\n');
}
