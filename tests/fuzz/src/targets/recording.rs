//! Recordings in any format.

use market::{EventTime, Instrument};
use store::recording::{InstrumentRows, RecordingFile, Rejects, RowCounts, Rules};

/// 2026-01-01.
const NOW: EventTime = EventTime(1_767_225_600_000);

/// Each line of a file that is read has one outcome, and the rows that count are in order.
pub(super) fn run(bytes: &[u8]) {
    let instrument = Instrument::new("bitcoin", "usd").expect("a valid instrument");
    let file = RecordingFile::of_bytes("fuzz", bytes.to_vec());
    let Ok(mut rows) = InstrumentRows::open(vec![file], &instrument, Rules::at(NOW)) else { return };
    let (mut counts, mut rejects) = (RowCounts::default(), Rejects::nowhere());
    let mut accepted = 0;
    let mut before = EventTime::MIN;
    while let Some(row) = rows.next(&mut counts, &mut rejects) {
        assert!(before <= row.event, "{} follows {before}", row.event);
        before = row.event;
        accepted += 1;
        let line = row.to_line(&instrument, rows.shape().grain(), NOW.ms());
        market::validate::validate(&line, &instrument, 0, NOW.ms()).expect("a row that counts is a valid tick");
    }
    let others = counts.duplicates
        + counts.rejected_count()
        + counts.without_price
        + counts.foreign
        + counts.headers
        + counts.unfinished;
    if rows.cut().is_none() {
        assert_eq!(counts.rows, accepted + others, "{counts:?}");
    }
}
