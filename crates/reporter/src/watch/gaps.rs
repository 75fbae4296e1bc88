//! Detection of missed messages: each live message has the sequence of its predecessor on the same subject.

use std::collections::HashMap;

/// Subjects that are kept, at most: 8 kinds of 10,000 instruments. When there are more, all are dropped and start
/// again.
const SUBJECTS_MAX: usize = 80_000;

/// The last sequence seen on each subject.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    last: HashMap<String, u64>,
}

/// Relation of a message to the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It follows the last one, or is the first of its subject.
    InOrder,
    /// It was printed before, as the last known value.
    Again,
    /// Messages before it are missing.
    Missed {
        /// Last sequence seen on the subject.
        after: u64,
    },
}

impl Gaps {
    /// Records a stored message that was read before the first live one.
    pub(super) fn begin(&mut self, subject: &str, seq: u64) {
        self.last.insert(subject.to_owned(), seq);
    }

    /// Records a live message with its sequence and that of its predecessor (0 for none).
    pub(super) fn see(&mut self, subject: &str, seq: u64, previous: u64) -> Seen {
        let Some(last) = self.last.get_mut(subject) else {
            if self.last.len() >= SUBJECTS_MAX {
                self.last.clear();
            }
            self.last.insert(subject.to_owned(), seq);
            return Seen::InOrder;
        };
        let after = *last;
        if seq == after {
            return Seen::Again;
        }
        *last = seq;
        // A predecessor below the last sequence means that the stream was emptied and filled again.
        if previous > after { Seen::Missed { after } } else { Seen::InOrder }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_messages_are_detected_per_subject() {
        let mut gaps = Gaps::default();
        gaps.begin("live.price.bitcoin.usd", 10);
        let seen = [
            ("live.price.bitcoin.usd", 10, 7),
            ("live.price.bitcoin.usd", 14, 10),
            ("live.price.ethereum.usd", 15, 3),
            ("live.price.bitcoin.usd", 20, 17),
            ("live.price.bitcoin.usd", 2, 0),
            ("live.price.bitcoin.usd", 4, 2),
        ]
        .map(|(subject, seq, previous)| gaps.see(subject, seq, previous));
        let expected =
            [Seen::Again, Seen::InOrder, Seen::InOrder, Seen::Missed { after: 14 }, Seen::InOrder, Seen::InOrder];
        assert_eq!(seen, expected);
    }
}
