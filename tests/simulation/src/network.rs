//! Events in virtual time, and links between nodes that delay, lose, duplicate and reorder messages.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::random::Random;

/// A queue of events. Events of one instant keep the order in which they were scheduled.
#[derive(Debug, Clone)]
pub struct Queue<E> {
    now_us: u64,
    scheduled: u64,
    events: BTreeMap<(u64, u64), E>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { now_us: 0, scheduled: 0, events: BTreeMap::new() }
    }
}

impl<E> Queue<E> {
    /// The time of the last event.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Schedules an event at a time, or now if that time has passed.
    pub fn at(&mut self, time_us: u64, event: E) {
        self.scheduled += 1;
        self.events.insert((time_us.max(self.now_us), self.scheduled), event);
    }

    /// Schedules an event after a delay.
    pub fn after(&mut self, delay_us: u64, event: E) {
        self.at(self.now_us + delay_us, event);
    }

    /// Returns the next event and advances the time to it.
    pub fn pop(&mut self) -> Option<E> {
        let ((time_us, _), event) = self.events.pop_first()?;
        self.now_us = time_us;
        Some(event)
    }

    /// Drops events that must not happen any more, such as the timers of a dead process.
    pub fn retain(&mut self, mut keep: impl FnMut(&E) -> bool) {
        self.events.retain(|_, event| keep(event));
    }

    /// Number of scheduled events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no event is scheduled.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// Delays and losses of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkQuality {
    /// Range of the normal delay.
    pub delay_us: Range<u64>,
    /// Messages per thousand that are much later.
    pub late: u32,
    /// Range of the additional delay of those.
    pub late_us: Range<u64>,
    /// Messages per thousand that are lost.
    pub lost: u32,
    /// Messages per thousand that arrive twice.
    pub doubled: u32,
    /// Whether messages stay in order, as on one connection: a late message then delays those after it.
    pub in_order: bool,
}

impl LinkQuality {
    /// A connection without disruptions.
    pub const CALM: Self = Self { delay_us: 50..200, late: 0, late_us: 0..0, lost: 0, doubled: 0, in_order: true };

    /// A connection with occasional losses, delays, duplicates and reordering.
    pub const ROUGH: Self =
        Self { delay_us: 50..5_000, late: 20, late_us: 1_000_000..8_000_000, lost: 20, doubled: 10, in_order: false };
}

/// One direction between two nodes.
#[derive(Debug, Clone)]
pub struct Link {
    quality: LinkQuality,
    is_cut: bool,
    /// Arrival of the last message.
    arrives_us: u64,
}

impl Link {
    /// A link of a quality.
    pub fn new(quality: LinkQuality) -> Self {
        Self { quality, is_cut: false, arrives_us: 0 }
    }

    /// Changes the quality; messages in flight are not affected.
    pub fn set_quality(&mut self, quality: LinkQuality) {
        self.quality = quality;
    }

    /// Loses every message that is sent from now on.
    pub fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Delivers messages again.
    pub fn restore(&mut self) {
        self.is_cut = false;
    }

    /// Sends a message: schedules no, one or two arrivals. Returns how many.
    pub fn send<E: Clone>(&mut self, queue: &mut Queue<E>, random: &mut Random, message: E) -> usize {
        // Drawn even when the link is cut, so that a cut changes nothing else in the run.
        let is_lost = random.chance(self.quality.lost);
        let is_doubled = random.chance(self.quality.doubled);
        let arrivals = [self.arrival(queue.now_us(), random), self.arrival(queue.now_us(), random)];
        if self.is_cut || is_lost {
            return 0;
        }
        let count = 1 + usize::from(is_doubled);
        for mut arrives_us in arrivals.into_iter().take(count) {
            if self.quality.in_order {
                arrives_us = arrives_us.max(self.arrives_us);
                self.arrives_us = arrives_us;
            }
            queue.at(arrives_us, message.clone());
        }
        count
    }

    fn arrival(&self, now_us: u64, random: &mut Random) -> u64 {
        let is_late = random.chance(self.quality.late);
        let (delay_us, late_us) =
            (random.within(self.quality.delay_us.clone()), random.within(self.quality.late_us.clone()));
        now_us + delay_us + if is_late { late_us } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    fn arrivals(link: &mut Link, random: &mut Random, count: u32) -> Vec<(u64, u32)> {
        let mut queue = Queue::default();
        for number in 0..count {
            link.send(&mut queue, random, number);
        }
        std::iter::from_fn(|| queue.pop().map(|number| (queue.now_us(), number))).collect()
    }

    #[test]
    fn events_come_by_time_and_in_scheduled_order_at_one_instant() {
        let mut queue = Queue::default();
        queue.at(20, "late");
        queue.after(10, "first");
        queue.after(10, "second");
        assert_eq!((queue.pop(), queue.now_us()), (Some("first"), 10));
        queue.at(3, "overdue");
        queue.after(5, "dropped");
        queue.retain(|event| *event != "dropped");
        assert_eq!((queue.pop(), queue.pop(), queue.now_us()), (Some("second"), Some("overdue"), 10));
        assert_eq!((queue.pop(), queue.now_us(), queue.pop()), (Some("late"), 20, None));
    }

    #[test]
    fn a_rough_link_disrupts_reproducibly() {
        let run = |seed| arrivals(&mut Link::new(LinkQuality::ROUGH), &mut Seed(seed).random("network"), 2_000);
        let found = run(1);
        let mut times = vec![0; 2_000];
        found.iter().for_each(|&(_, number)| times[number as usize] += 1);
        let with = |count| times.iter().filter(|&&times| times == count).count();
        assert!(with(0) > 10 && with(2) > 5, "lost {}, doubled {}", with(0), with(2));
        assert!(found.is_sorted_by_key(|&(time_us, _)| time_us));
        assert!(!found.is_sorted_by_key(|&(_, number)| number), "some overtake others");
        assert!(found.iter().any(|&(time_us, _)| time_us > 1_000_000), "some are late");
        assert_eq!(found, run(1));
        assert_ne!(found, run(2));
    }

    #[test]
    fn an_ordered_link_keeps_the_order_despite_late_messages() {
        let quality = LinkQuality { lost: 0, doubled: 0, in_order: true, ..LinkQuality::ROUGH };
        let found = arrivals(&mut Link::new(quality), &mut Seed(3).random("network"), 1_000);
        assert!(found.iter().map(|&(_, number)| number).eq(0..1_000));
    }

    #[test]
    fn messages_on_a_cut_link_never_arrive() {
        let (mut link, mut random, mut queue) = (Link::new(LinkQuality::CALM), Random::new(1), Queue::default());
        link.cut();
        assert_eq!(link.send(&mut queue, &mut random, 1), 0);
        link.restore();
        assert_eq!(link.send(&mut queue, &mut random, 2), 1);
        assert_eq!((queue.len(), queue.pop(), queue.is_empty()), (1, Some(2), true));
    }
}
