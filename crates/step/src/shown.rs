//! What of a partition is, or can be, shown ahead of its commit.

use std::collections::BTreeSet;

use crate::ahead::{Ahead, MESSAGES_MAX, Open};
use crate::transaction::Outgoing;
use bus::ahead::Mark;

/// So many results may wait at once: more of them are cheaper in a batch.
const WAITING_MAX: usize = 8;

/// Results ahead of their commit: ours that wait to be stored, and those that an owner before us has stored.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    waiting: Vec<Ahead>,
    /// Where this owner is written down; 0 before that.
    owner: u64,
    /// What of ours is stored ends here.
    stored_to: u64,
    /// Behind this sequence of the output there may be results of inputs beyond the position; 0 when there are none.
    from: u64,
    /// Those results by input and subject, once it is known which they are.
    known: Option<BTreeSet<(u64, String)>>,
}

impl Shown {
    /// Nothing is known yet of what stands behind this sequence.
    pub(crate) fn behind(from: u64) -> Self {
        Self { from, ..Self::default() }
    }

    /// Where this owner is written down, if it is.
    pub(crate) fn owner(&self) -> Option<u64> {
        (self.owner > 0).then_some(self.owner)
    }

    /// This owner is written down.
    pub(crate) fn owned_at(&mut self, owner: u64) {
        self.owner = owner;
    }

    /// From which sequence on the results are to be looked for, if that is not known yet.
    pub(crate) fn unknown_from(&self) -> Option<u64> {
        (self.from > 0 && self.known.is_none()).then_some(self.from)
    }

    /// These results are there, and no others will be.
    pub(crate) fn found(&mut self, results: impl IntoIterator<Item = (Mark, String)>) {
        self.known = Some(results.into_iter().map(|(mark, subject)| (mark.input, subject)).collect());
    }

    /// From which sequence on there may be results of another owner, of inputs beyond a position.
    pub(crate) fn from(&self, position: u64) -> Option<u64> {
        let is_passed = |known: &BTreeSet<(u64, String)>| known.last().is_none_or(|(input, _)| *input <= position);
        (self.from > 0 && !self.known.as_ref().is_some_and(is_passed)).then_some(self.from)
    }

    /// Whether some result of an input is there already.
    pub(crate) fn contains(&self, input: u64) -> bool {
        let first = (input, String::new());
        self.known.as_ref().is_some_and(|known| known.range(first..).next().is_some_and(|(found, _)| *found == input))
    }

    /// Whether there is room for so many more, this owner is written down, and every input up to `position` has its results.
    pub(crate) fn has_room(&self, messages: usize, position: u64) -> bool {
        let fits = messages <= MESSAGES_MAX && self.waiting.len() + messages <= WAITING_MAX;
        fits && self.owner > 0 && self.from(position).is_none()
    }

    /// All that an input gives waits to be stored, but for what is there already; `open` is to be shown then.
    pub(crate) fn push(&mut self, input: u64, messages: Vec<Outgoing>, open: Vec<Open>) {
        let of = messages.len();
        for (number, message) in (1..).zip(messages) {
            let place = (input, message.subject.clone());
            if self.known.as_ref().is_none_or(|known| !known.contains(&place)) {
                self.waiting.push(Ahead { mark: Mark { input, number, of }, message, open: Vec::new() });
            }
        }
        if let Some(last) = self.waiting.last_mut().filter(|last| last.mark.input == input) {
            last.open = open;
        }
    }

    /// Results of ours are stored, the last one here.
    pub(crate) fn stored(&mut self, seq: u64) {
        self.stored_to = self.stored_to.max(seq);
    }

    /// Where the last result of ours is that is known to be stored; 0 before the first.
    pub(crate) fn stored_to(&self) -> u64 {
        self.stored_to
    }

    /// All that wait to be stored.
    pub(crate) fn take(&mut self) -> Vec<Ahead> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::Role;

    fn mark(input: u64, number: usize, of: usize) -> Mark {
        Mark { input, number, of }
    }

    #[test]
    fn a_position_tells_of_results_beyond_it_until_it_has_passed_them() {
        let mut shown = Shown::behind(40);
        shown.owned_at(50);
        assert_eq!((shown.unknown_from(), shown.from(7), shown.has_room(1, 7)), (Some(40), Some(40), false));
        shown.found([(mark(8, 1, 1), "a".to_owned()), (mark(11, 1, 2), "a".to_owned())]);
        assert_eq!((shown.unknown_from(), shown.from(7), shown.has_room(1, 7)), (None, Some(40), false));
        assert!(shown.contains(11) && !shown.contains(9) && !shown.contains(12));
        assert_eq!((shown.from(10), shown.has_room(1, 10)), (Some(40), false));
        assert_eq!((shown.from(11), shown.has_room(1, 11)), (None, true));
    }

    #[test]
    fn nothing_is_looked_for_where_nothing_was_ever_committed() {
        let mut shown = Shown::behind(0);
        assert_eq!((shown.unknown_from(), shown.from(0), shown.has_room(1, 0)), (None, None, false));
        shown.owned_at(3);
        assert!(shown.has_room(1, 0) && !shown.has_room(WAITING_MAX, 0));
    }

    #[test]
    fn of_what_an_input_gives_only_that_waits_which_is_not_there() {
        let message = |kind: &'static str| Outgoing {
            subject: format!("market.3.{kind}.bitcoin.usd"),
            payload: kind.into(),
            role: Role::Output("price/1"),
        };
        let mut shown = Shown::behind(40);
        shown.found([(mark(8, 1, 2), "market.3.candle-1m.bitcoin.usd".to_owned())]);
        shown.push(8, vec![message("candle-1m"), message("price")], Vec::new());
        shown.push(9, vec![message("candle-1m")], Vec::new());
        let waiting: Vec<_> = shown.take().into_iter().map(|ahead| (ahead.mark, ahead.message.payload)).collect();
        assert_eq!(waiting, [(mark(8, 2, 2), "price".into()), (mark(9, 1, 1), "candle-1m".into())]);
        assert!(shown.take().is_empty());
    }
}
