//! The instruments of a partition, and how much of each is stored.

use std::collections::{BTreeSet, HashMap};

use bus::Stream;
use bus::subject;
use bytes::Bytes;
use market::{EventTime, Instrument};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::{InstrumentState, encode_state};
use crate::lazy_state::LazyState;
use crate::part::{Outgoing, Role};
use crate::time::Time;

/// An instrument.
pub(super) struct Member<S> {
    pub(super) coin: String,
    pub(super) quote: String,
    /// `None` for an invalid name.
    pub(super) instrument: Option<Instrument>,
    /// Number of inputs applied to it.
    pub(super) applied: u64,
    /// Its last input.
    pub(super) last_seq: u64,
    /// Number of inputs that its stored state contains; 0 without one.
    stored_applied: u64,
    pub(super) state: LazyState<S>,
    /// Its watermark when the state was last encoded.
    pub(super) watermark: EventTime,
    /// When its provisional candles were last published.
    pub(super) published_at: Option<Time>,
}

/// The instruments of a partition.
pub(super) struct Members<S> {
    all: Vec<Member<S>>,
    /// Index by `coin.quote`, the last tokens of subjects.
    index: HashMap<String, usize>,
    /// Instruments whose stored state lacks inputs, by the first missing input.
    unsettled: BTreeSet<(u64, usize)>,
    /// Number of inputs applied, summed over all instruments.
    applied: u64,
    /// Number of stored states, and of the inputs that they contain together.
    stored: (u64, u64),
}

impl<S> Default for Members<S> {
    fn default() -> Self {
        Self { all: Vec::new(), index: HashMap::new(), unsettled: BTreeSet::new(), applied: 0, stored: (0, 0) }
    }
}

impl<S: Serialize + DeserializeOwned + Default> Members<S> {
    /// The instruments of a checkpoint; `watermark_of` returns the watermark of a state.
    pub(super) fn restored(states: Vec<InstrumentState<S>>, watermark_of: impl Fn(&S) -> EventTime) -> Self {
        let mut members = Self::default();
        for InstrumentState { coin, quote, applied, last_seq, state, encoded } in states {
            let idx = members.insert(&coin, &quote);
            let member = &mut members.all[idx];
            (member.applied, member.last_seq, member.stored_applied) = (applied, last_seq, applied);
            member.watermark = watermark_of(&state);
            member.state.keep_encoded(&encoded);
            members.applied += applied;
            members.stored = (members.stored.0 + 1, members.stored.1 + applied);
        }
        members
    }

    /// The index of the instrument in a stored subject; a new instrument starts with the default state.
    pub(super) fn number(&mut self, key: &str, coin: &str, quote: &str) -> usize {
        self.index.get(key).copied().unwrap_or_else(|| self.insert(coin, quote))
    }

    /// An invalid name gets an entry too, because its refusals are stored under its own subject.
    fn insert(&mut self, coin: &str, quote: &str) -> usize {
        self.all.push(Member {
            coin: coin.to_owned(),
            quote: quote.to_owned(),
            instrument: Instrument::new(coin, quote).ok(),
            applied: 0,
            last_seq: 0,
            stored_applied: 0,
            state: LazyState::default(),
            watermark: EventTime::MIN,
            published_at: None,
        });
        let idx = self.all.len() - 1;
        self.index.insert(format!("{coin}.{quote}"), idx);
        idx
    }

    pub(super) fn get_mut(&mut self, idx: usize) -> &mut Member<S> {
        &mut self.all[idx]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member<S>> {
        self.all.iter()
    }

    /// Coin and quote, as in subjects.
    pub(super) fn name(&self, idx: usize) -> (&str, &str) {
        let Member { coin, quote, .. } = &self.all[idx];
        (coin, quote)
    }

    /// Records that all of an input was applied to an instrument.
    pub(super) fn note(&mut self, idx: usize, seq: u64) {
        let member = &mut self.all[idx];
        if member.applied == member.stored_applied {
            self.unsettled.insert((seq, idx));
        }
        member.applied += 1;
        member.last_seq = seq;
        self.applied += 1;
    }

    /// Number of inputs applied, summed over all instruments.
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    /// Number of stored states, and of the inputs that they contain together.
    pub(super) fn stored(&self) -> (u64, u64) {
        self.stored
    }

    /// Whether the stored states contain every applied input.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// The stored states contain every input up to here, if all up to `position` are applied.
    pub(super) fn settled(&self, position: u64) -> u64 {
        self.unsettled.first().map_or(position, |&(first, _)| first - 1)
    }

    /// Encodes the states that have lacked inputs for the longest time, as many as fit. They count as stored from now
    /// on.
    pub(super) fn settle(
        &mut self,
        (output, partition): (Stream, u32),
        (messages_max, bytes_max): (usize, usize),
        watermark_of: impl Fn(&S) -> EventTime,
    ) -> Vec<Outgoing> {
        let mut messages: Vec<Outgoing> = Vec::new();
        let mut bytes = 0;
        while messages.len() < messages_max
            && let Some(&(first, idx)) = self.unsettled.first()
        {
            let member = &mut self.all[idx];
            let state = member.state.decoded_mut();
            let payload: Bytes = encode_state(member.applied, member.last_seq, state);
            if !messages.is_empty() && bytes + payload.len() > bytes_max {
                break;
            }
            bytes += payload.len();
            member.watermark = watermark_of(state);
            member.state.keep_encoded(&payload);
            self.stored.0 += u64::from(member.stored_applied == 0);
            self.stored.1 += member.applied - member.stored_applied;
            member.stored_applied = member.applied;
            let subject = subject::state(output, partition, &member.coin, &member.quote);
            messages.push(Outgoing { subject, payload, role: Role::State });
            self.unsettled.remove(&(first, idx));
        }
        messages
    }
}
