//! Subjects of messages.

use bus::{RecordKind, subject};
use market::Window;

/// Kinds of records with a live subject.
fn kinds() -> impl Iterator<Item = RecordKind> {
    let others = [
        RecordKind::Price,
        RecordKind::Candle,
        RecordKind::Heartbeat,
        RecordKind::Gap,
        RecordKind::Late,
        RecordKind::Rejected,
        RecordKind::HourOfDay,
        RecordKind::Next,
        RecordKind::Score,
        RecordKind::Model,
    ];
    others.into_iter().chain(Window::ALL.into_iter().map(RecordKind::Stats))
}

/// The parts of a subject make the same subject again.
pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Some(parts) = subject::SubjectParts::parse(text) {
        let root = text.split('.').next().expect("a text has a first part");
        let subject::SubjectParts { partition, kind, coin, quote } = parts;
        // A number may have been written with zeros before it.
        let again = format!("{root}.{partition}.{kind}.{coin}.{quote}");
        assert_eq!(subject::SubjectParts::parse(&again), Some(parts), "{text}");
    }
    for partitions in [1, 16] {
        if let Some((stream, stored)) = subject::stored_of_live(text, partitions) {
            let parts = subject::SubjectParts::parse(&stored).expect("a stored subject");
            assert!(parts.partition < partitions, "{text}: {stored}");
            let kind = kinds().find(|kind| kind.token() == parts.kind).expect("a known kind");
            assert_eq!(subject::live(stream, kind, parts.coin, parts.quote), text);
        }
    }
    if let Some((coin, quote)) = subject::state_instrument(text) {
        assert!(text.ends_with(&format!(".state.{coin}.{quote}")), "{text}");
    }
    if let Some(instrument) = subject::instrument_of(text) {
        assert!(text.ends_with(instrument), "{text}");
    }
}
