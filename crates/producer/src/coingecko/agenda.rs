//! The order of the poller's work: polls, requests that fill, and waits. Pure: times are those since the start of the
//! poller, by a clock that is never set.

use std::time::Duration;

/// Time after which a poller without credits looks whether it has some again.
const RECHECK: Duration = Duration::from_secs(30);

/// The next piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask for the prices of all coins.
    Poll,
    /// Send one request that fills the time before a price of this instrument.
    Fill(usize),
    /// The price of this instrument has waited for long enough.
    GiveUp(usize),
    /// Nothing is due for this long.
    Wait(Duration),
}

/// Times of the pending work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agenda {
    next_poll: Duration,
    /// No request is sent before this time.
    paused_until: Duration,
    /// In the order of their beginning.
    fillings: Vec<FillTimes>,
    /// Whether the last request was a poll: fillings and polls take turns when both are due.
    was_poll: bool,
}

#[derive(Debug, Clone, Copy)]
struct FillTimes {
    instrument_idx: usize,
    not_before: Duration,
    deadline: Duration,
}

impl Agenda {
    /// Returns the next piece of work. Without room for its records no filling goes on.
    pub(crate) fn next(&mut self, now: Duration, has_room: bool) -> Action {
        if let Some(late) = self.fillings.iter().find(|filling| filling.deadline <= now) {
            return Action::GiveUp(late.instrument_idx);
        }
        let poll_at = self.next_poll.max(self.paused_until);
        let fill_at = |filling: &FillTimes| filling.not_before.max(self.paused_until);
        let fill = self.fillings.iter().find(|filling| has_room && fill_at(filling) <= now);
        match fill {
            Some(fill) if self.was_poll || poll_at > now => {
                self.was_poll = false;
                Action::Fill(fill.instrument_idx)
            }
            _ if poll_at <= now => {
                self.was_poll = true;
                Action::Poll
            }
            _ => {
                let fills = self.fillings.iter().filter(|_| has_room).map(fill_at);
                let deadlines = self.fillings.iter().map(|filling| filling.deadline);
                let first = fills.chain(deadlines).fold(poll_at, Duration::min);
                Action::Wait(first - now)
            }
        }
    }

    /// Sets the next poll to `interval` after the start of the last one. A slow answer delays it, so that polls do not
    /// pile up.
    pub(crate) fn polled(&mut self, started: Duration, now: Duration, interval: Duration) {
        self.next_poll = started.saturating_add(interval).max(now);
    }

    /// Pauses all requests after a refused poll, which is repeated afterwards.
    pub(crate) fn poll_refused(&mut self, now: Duration, pause: Duration) {
        self.paused_until = now.saturating_add(pause);
        self.next_poll = self.paused_until;
    }

    /// Pauses all requests after a refused filling.
    pub(crate) fn pause(&mut self, now: Duration, pause: Duration) {
        self.paused_until = self.paused_until.max(now.saturating_add(pause));
    }

    /// Delays the next poll until its calls can be made again, which is looked for now and then.
    pub(crate) fn unpaid(&mut self, now: Duration, rest: Duration) {
        self.next_poll = now.saturating_add(rest.min(RECHECK));
    }

    /// Adds a filling, which ends in time.
    pub(crate) fn fill(&mut self, instrument_idx: usize, now: Duration, time: Duration) {
        self.fillings.push(FillTimes { instrument_idx, not_before: now, deadline: now.saturating_add(time) });
    }

    /// Delays the next request of a filling.
    pub(crate) fn delay_fill(&mut self, instrument_idx: usize, now: Duration, delay: Duration) {
        let of_instrument = |filling: &&mut FillTimes| filling.instrument_idx == instrument_idx;
        if let Some(filling) = self.fillings.iter_mut().find(of_instrument) {
            filling.not_before = now.saturating_add(delay);
        }
    }

    /// Removes a filling.
    pub(crate) fn filled(&mut self, instrument_idx: usize) {
        self.fillings.retain(|filling| filling.instrument_idx != instrument_idx);
    }

    /// Returns the time of the next poll.
    pub(crate) fn next_poll(&self) -> Duration {
        self.next_poll.max(self.paused_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn it_polls_at_the_interval_and_not_before_a_slow_answer() {
        let mut agenda = Agenda::default();
        assert_eq!(agenda.next(second(0), true), Action::Poll);
        agenda.polled(second(0), second(1), second(60));
        assert_eq!(agenda.next(second(1), true), Action::Wait(second(59)));
        assert_eq!(agenda.next(second(60), true), Action::Poll);
        agenda.polled(second(60), second(200), second(60));
        assert_eq!(agenda.next(second(200), true), Action::Poll);
    }

    #[test]
    fn a_refused_poll_pauses_everything_and_is_repeated() {
        let mut agenda = Agenda::default();
        agenda.fill(3, second(0), second(60));
        agenda.poll_refused(second(0), second(30));
        assert_eq!(agenda.next(second(1), true), Action::Wait(second(29)));
        assert_eq!(agenda.next(second(30), true), Action::Poll);
        assert_eq!(agenda.next(second(30), true), Action::Fill(3));
    }

    #[test]
    fn fillings_and_polls_take_turns_when_both_are_due() {
        let mut agenda = Agenda::default();
        assert_eq!(agenda.next(second(0), true), Action::Poll);
        // Each answer takes longer than the interval.
        agenda.polled(second(0), second(2), second(1));
        agenda.fill(0, second(2), second(60));
        agenda.fill(1, second(2), second(60));
        let found: Vec<Action> = (2..6).map(|now| agenda.next(second(now), true)).collect();
        assert_eq!(found, [Action::Fill(0), Action::Poll, Action::Fill(0), Action::Poll]);
        agenda.filled(0);
        assert_eq!(agenda.next(second(6), true), Action::Fill(1));
    }

    #[test]
    fn a_filling_ends_at_its_deadline_also_without_room() {
        let mut agenda = Agenda::default();
        agenda.polled(second(0), second(0), second(1_000));
        agenda.fill(7, second(0), second(60));
        assert_eq!(agenda.next(second(0), false), Action::Wait(second(60)));
        agenda.delay_fill(7, second(0), second(20));
        assert_eq!(agenda.next(second(1), true), Action::Wait(second(19)));
        assert_eq!(agenda.next(second(20), true), Action::Fill(7));
        assert_eq!(agenda.next(second(60), true), Action::GiveUp(7));
        agenda.filled(7);
        assert_eq!(agenda.next(second(60), true), Action::Wait(second(940)));
    }

    #[test]
    fn without_credits_it_looks_again_now_and_then() {
        let mut agenda = Agenda::default();
        agenda.unpaid(second(0), second(100_000));
        assert_eq!(agenda.next(second(0), true), Action::Wait(second(30)));
        agenda.unpaid(second(600), second(5));
        assert_eq!(agenda.next(second(600), true), Action::Wait(second(5)));
    }
}
