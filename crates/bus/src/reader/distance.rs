//! How close a reader may follow whoever writes.
//!
//! nats-server keeps the block that it writes, 8 MiB, in memory for ten seconds once anybody has read from it. A reader that
//! follows a replay at the end of the stream has all of the replay kept: hundreds of megabytes, and beyond GOMEMLIMIT a
//! server that does little but collect garbage. A block that is read only when the next one has begun costs nothing. So a
//! reader that reads much of FEED stays a block behind, until the writer pauses. The blocks of streams with checkpoints are
//! kept whoever reads: each commit looks up the position before it, and republishing the message before on its subject.

use std::time::Duration;

use tokio::time::Instant;

/// A block of the server, and what may be on its way.
const BEHIND: f64 = 9.0 * 1024.0 * 1024.0;
/// Whoever reads less than this in a second stays as close as it likes: little is kept of it.
const MUCH: f64 = 8.0 * 1024.0 * 1024.0;
/// A writer that adds nothing for this long pauses: the rest is read at once.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a reader that stays behind looks whether there is more.
const LOOK: Duration = Duration::from_millis(25);

/// What a reader may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for whatever comes.
    Any,
    /// Ask for so many messages, which are there.
    Some(usize),
    /// Look again then.
    Look(Instant),
}

/// How far a reader is from the end, and how much it reads.
#[derive(Debug)]
pub(super) struct Distance {
    /// Bytes read, less what is allowed in the time since.
    level: f64,
    at: Instant,
    /// Bytes of a message.
    mean: f64,
    /// Messages delivered, of all that are known.
    delivered: u64,
    known: u64,
    /// When there were more than before.
    grown_at: Instant,
}

impl Distance {
    /// Of a reader that begins, with so many messages before it.
    pub(super) fn new(pending: u64, now: Instant) -> Self {
        Self { level: 0.0, at: now, mean: 0.0, delivered: 0, known: pending, grown_at: now }
    }

    /// A message came: its bytes, its number, and how many there are after it.
    pub(super) fn delivered(&mut self, bytes: usize, number: u64, pending: u64, now: Instant) {
        let bytes = bytes as f64;
        self.level = (self.level_at(now) + bytes).min(2.0 * MUCH);
        self.at = now;
        self.mean = if self.mean == 0.0 { bytes } else { self.mean + (bytes - self.mean) / 8.0 };
        self.delivered = number;
        self.looked(number, pending, now);
    }

    /// So many messages are delivered, and so many are there after them.
    pub(super) fn looked(&mut self, delivered: u64, pending: u64, now: Instant) {
        if delivered + pending > self.known {
            self.known = delivered + pending;
            self.grown_at = now;
        }
    }

    /// What to do now, when so many messages are asked for already.
    pub(super) fn next(&self, asked: usize, now: Instant) -> Next {
        if self.level_at(now) < MUCH {
            return Next::Any;
        }
        let behind = (BEHIND / self.mean.max(1.0)) as u64 + asked as u64;
        let ahead = self.known - self.delivered;
        if ahead > behind {
            Next::Some((ahead - behind) as usize)
        } else if now.duration_since(self.grown_at) >= PAUSE {
            Next::Any
        } else {
            Next::Look((now + LOOK).min(self.grown_at + PAUSE))
        }
    }

    fn level_at(&self, now: Instant) -> f64 {
        (self.level - now.duration_since(self.at).as_secs_f64() * MUCH).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKED: usize = 64 * 1024;
    /// Packed messages of a block and what is on its way.
    const BLOCK: usize = 144;

    /// A reader that was delivered so many messages of a stream, one each millisecond; and now.
    fn after(messages: u64, bytes: usize, pending: u64) -> (Distance, Instant) {
        let start = Instant::now();
        let mut distance = Distance::new(messages + pending, start);
        let mut now = start;
        for number in 1..=messages {
            now += Duration::from_millis(1);
            distance.delivered(bytes, number, messages + pending - number, now);
        }
        (distance, now)
    }

    #[test]
    fn live_ticks_are_read_as_they_come() {
        let (distance, now) = after(60_000, 400, 0);
        assert_eq!(distance.next(0, now), Next::Any);
    }

    #[test]
    fn a_replay_is_followed_a_block_behind_until_it_pauses() {
        let (mut distance, now) = after(250, PACKED, 200);
        assert_eq!(distance.next(0, now), Next::Some(200 - BLOCK));
        assert_eq!(distance.next(200 - BLOCK, now), Next::Any, "nothing new since the beginning");
        distance.looked(250, 201, now);
        assert_eq!(distance.next(201 - BLOCK, now), Next::Look(now + LOOK));
        let later = now + PAUSE - Duration::from_millis(1);
        assert_eq!(distance.next(201 - BLOCK, later), Next::Look(now + PAUSE));
        assert_eq!(distance.next(201 - BLOCK, now + PAUSE), Next::Any);
    }

    #[test]
    fn a_writer_that_never_pauses_is_caught_up_with_in_a_second() {
        let (mut distance, now) = after(250, PACKED, 1);
        let mut now = now;
        for more in 0..100 {
            now += Duration::from_millis(10);
            distance.looked(250, 1 + more, now);
        }
        assert_eq!(distance.next(0, now + Duration::from_millis(10)), Next::Any);
    }
}
