//! Recordings that are opened and surveyed, before a row of them is published.

use std::path::PathBuf;
use std::sync::Arc;

use indicatif::ProgressBar;
use market::Instrument;
use store::recording::{InstrumentRows, OnRead, ReadingOptions, RecordingFile, UnusableFile};

/// The files of one instrument: surveyed, not read yet.
pub(crate) struct Recording {
    pub(crate) instrument: Instrument,
    pub(crate) rows: InstrumentRows,
}

/// Surveys all files of all instruments, so that nothing is published when one of them is refused. `progress` advances
/// by the bytes that are read later.
///
/// # Errors
/// The first file that cannot be used.
pub(crate) fn open(
    files: Vec<(Instrument, Vec<PathBuf>)>,
    reading: &ReadingOptions,
    progress: &ProgressBar,
) -> Result<Vec<Recording>, UnusableFile> {
    let bar = progress.clone();
    let on_read: OnRead = Arc::new(move |bytes| bar.inc(bytes));
    let open = |(instrument, paths): (Instrument, Vec<PathBuf>)| {
        let input = |path: &PathBuf| {
            RecordingFile::at(path, Arc::clone(&on_read)).map(|input| input.with_layout(reading.layout.clone()))
        };
        let inputs = paths.iter().map(input).collect::<Result<Vec<_>, _>>()?;
        let rows = InstrumentRows::open(inputs, &instrument, reading.rules)?;
        Ok(Recording { instrument, rows })
    };
    files.into_iter().map(open).collect()
}
