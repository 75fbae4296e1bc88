//! Application of input to the states.

use bus::reader::Delivery;
use bus::subject::{self, SubjectParts};
use bus::{Error, codec};

use crate::operator::{Applied, Input, Operator};
use crate::partition::draft::Held;
use crate::partition::event::Effect;
use crate::partition::state::{Partition, Phase};
use crate::time::Time;

impl<O: Operator> Partition<O> {
    /// Applies the next message.
    pub(super) fn input(&mut self, delivery: Delivery, now: Time, effects: &mut Vec<Effect>) -> Result<(), Error> {
        self.pending = delivery.pending;
        self.has_more = true;
        if delivery.seq <= self.position {
            self.dropped += 1;
            return Ok(());
        }
        if let Phase::Replaying(replay) = &self.phase
            && delivery.seq > replay.to
        {
            // The last messages up to the position were other partitions', or the states contain them.
            self.position = replay.to;
            self.end_replay(effects)?;
        }
        self.apply_from(delivery, 0, now, effects);
        self.end_replay(effects)
    }

    /// Continues the held message.
    pub(super) fn apply_held(&mut self, now: Time, effects: &mut Vec<Effect>) -> Result<(), Error> {
        if let Some(Held { delivery, lines_done, .. }) = self.held.take() {
            self.apply_from(delivery, lines_done, now, effects);
        }
        self.end_replay(effects)
    }

    /// Applies a message from line `lines_done` on. It counts, and its instrument's state changes, only when all of it
    /// is applied. A replayed message gives no results and counts nothing: both are stored already.
    fn apply_from(&mut self, delivery: Delivery, lines_done: u32, now: Time, effects: &mut Vec<Effect>) {
        let Some(subject) = SubjectParts::parse(&delivery.subject) else { return };
        let key = subject::instrument_of(&delivery.subject).unwrap_or_default();
        let idx = self.members.number(key, subject.coin, subject.quote);
        let is_again = matches!(self.phase, Phase::Replaying(_));
        if is_again && delivery.seq <= self.members.get_mut(idx).last_seq {
            self.position = delivery.seq;
            return;
        }
        let Some(&kind) = O::STEP.kinds.iter().find(|kind| kind.token() == subject.kind) else {
            // FEED accepted other kinds once. No step reads them.
            return self.note(idx, delivery.seq, now);
        };
        let member = self.members.get_mut(idx);
        let input = Input {
            seq: delivery.seq,
            stored_ms: delivery.stored_ms,
            kind,
            instrument: member.instrument.as_ref(),
            is_known_schema: codec::is_known_schema(delivery.headers.as_ref(), kind),
            is_after_loss: member.applied > 0 && member.last_seq <= self.lost_to,
            payload: &delivery.payload,
            lines_done,
        };
        let (mut shown, mut counted) = Default::default();
        let (outputs, counts) =
            if is_again { (&mut shown, &mut counted) } else { (&mut self.draft.outputs, &mut self.counts) };
        outputs.select(idx);
        match self.operator.apply(input, member.state.decoded_mut(), counts, outputs) {
            Applied::All => self.note(idx, delivery.seq, now),
            Applied::UpTo { lines_done, ready } => {
                self.held = Some(Held { since: now, delivery, lines_done });
                self.draft.has_waited = !is_again;
                effects.push(Effect::Wait(ready));
            }
        }
    }

    /// Records that all of a message is applied to an instrument.
    fn note(&mut self, idx: usize, seq: u64, now: Time) {
        self.members.note(idx, seq);
        self.unsettled_since.get_or_insert(now);
        self.position = seq;
        self.schedule.note(now);
        if matches!(self.phase, Phase::Replaying(_)) {
            return;
        }
        self.frontier = self.frontier.max(seq);
        if seq == self.verified + 1 {
            // No message fits between.
            self.verified = seq;
        }
        self.draft.note(idx, now);
    }
}
