//! Start and end of disruptions.

use std::time::Duration;

use crate::jetstream::{Request, Survivors, Sync};
use crate::network::LinkQuality;
use crate::world::plan::{Disruption, RunPlan, ScheduledDisruption};
use crate::world::state::{ActiveDisruptions, STREAMS, SimEvent, World};

impl RunPlan {
    /// Whether MARKET may lose messages that STATS has read.
    pub(crate) fn loses_market(&self) -> bool {
        let is_cut =
            |disruption: &ScheduledDisruption| matches!(disruption.kind, Disruption::PowerCut { is_stats: false, .. });
        self.disruptions.iter().any(is_cut)
    }

    /// Whether a power cut may tear a batch.
    pub(crate) fn tears(&self) -> bool {
        self.disruptions.iter().any(|disruption| matches!(disruption.kind, Disruption::PowerCut { .. }))
    }

    /// Whether FEED may lose its oldest messages.
    pub(crate) fn loses_feed(&self) -> bool {
        self.disruptions.iter().any(|disruption| matches!(disruption.kind, Disruption::LoseFeed { .. }))
    }
}

impl World {
    pub(super) fn start_disruption(&mut self, idx: usize) {
        let ScheduledDisruption { lasts, kind, .. } = self.plan.disruptions[idx];
        self.note(|| format!("{kind:?} for {:.3} s", lasts.as_secs_f64()));
        match kind {
            Disruption::Crash { process } if self.nodes[process].program.is_some() => self.end(process, lasts),
            Disruption::Stop { process } => {
                if let Some(program) = &mut self.nodes[process].program {
                    program.stop();
                    self.proceed(process);
                }
            }
            Disruption::Freeze { process } => self.nodes[process].is_frozen = true,
            Disruption::Jump { process } => {
                self.nodes[process].offset += lasts;
                self.nodes[process].wake_us = None;
                self.proceed(process);
            }
            Disruption::Cut { process } => {
                self.nodes[process].to.cut();
                self.nodes[process].from.cut();
            }
            Disruption::Rough => {
                self.disruptions.rough += 1;
                self.set_quality(&LinkQuality::ROUGH);
            }
            Disruption::Gaps => self.disruptions.gaps += 1,
            Disruption::LoseLeases => self.purge(3, "$KV.LEASES.>", 0),
            Disruption::Hang { server } => self.jet.freeze(server),
            Disruption::Kill { server } => self.jet.kill(server),
            Disruption::PowerCut { is_stats, commits, messages } if self.plan.sync == Sync::Later => {
                let victim = if is_stats { "STATS" } else { "MARKET" };
                STREAMS.iter().filter(|stream| **stream != victim).for_each(|stream| self.jet.sync_stream(stream, 0));
                self.jet.cut_power(0, Survivors { commits, messages });
                // The steps run on the same machine; the README explains why.
                self.crash_steps(lasts);
            }
            Disruption::StepDown { stream } => {
                let server = self.chance.index(self.plan.servers);
                self.lead(stream, server);
            }
            Disruption::Lag { server } => self.disruptions.lags[server] += 1,
            Disruption::Halfway { stream } => {
                let messages = self.chance.below(4);
                let server = self.chance.index(self.plan.servers);
                self.jet.show_only(STREAMS[stream], server, messages);
            }
            Disruption::Full => {
                let bytes = self.jet.bytes();
                self.jet.set_room(Some(bytes));
            }
            Disruption::LoseFeed { per_mille } => self.lose_feed(per_mille),
            Disruption::Crash { .. } | Disruption::PowerCut { .. } => {}
        }
    }

    pub(super) fn end_disruption(&mut self, idx: usize) {
        if Duration::from_micros(self.queue.now_us()) >= self.plan.calm_at {
            // All disruptions have ended already.
            return;
        }
        match self.plan.disruptions[idx].kind {
            Disruption::Freeze { process } => self.wake(process),
            Disruption::Cut { process } => {
                self.nodes[process].to.restore();
                self.nodes[process].from.restore();
            }
            Disruption::Rough => {
                self.disruptions.rough -= 1;
                if self.disruptions.rough == 0 {
                    self.set_quality(&LinkQuality::CALM);
                }
            }
            Disruption::Gaps => self.disruptions.gaps -= 1,
            Disruption::Hang { server } | Disruption::Kill { server } => self.bring_back(server),
            Disruption::PowerCut { .. } => self.bring_back(0),
            Disruption::Lag { server } => self.disruptions.lags[server] -= 1,
            Disruption::Halfway { stream } => self.show_all(stream),
            Disruption::Full => self.jet.set_room(None),
            Disruption::Crash { .. }
            | Disruption::Stop { .. }
            | Disruption::Jump { .. }
            | Disruption::LoseLeases
            | Disruption::StepDown { .. }
            | Disruption::LoseFeed { .. } => {}
        }
    }

    /// Ends all disruptions.
    pub(super) fn end_all_disruptions(&mut self) {
        self.note(|| "all is calm".to_owned());
        self.disruptions = ActiveDisruptions::new(self.plan.servers);
        self.set_quality(&LinkQuality::CALM);
        self.jet.set_room(None);
        (0..self.plan.servers).for_each(|server| self.bring_back(server));
        (0..STREAMS.len()).for_each(|stream| self.show_all(stream));
        for node in 0..self.nodes.len() {
            self.nodes[node].to.restore();
            self.nodes[node].from.restore();
            self.wake(node);
            self.start(node);
        }
        if self.plan.restarts_at_end {
            self.crash_steps(Duration::from_millis(100));
        }
    }

    fn wake(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        if std::mem::take(&mut place.is_frozen) {
            place.wake_us = None;
            for (id, response) in std::mem::take(&mut place.held) {
                place.io.answer(id, response);
            }
            self.proceed(node);
        }
    }

    fn bring_back(&mut self, server: usize) {
        self.jet.wake(server);
        self.jet.restart(server, self.queue.now_us());
        for stream in 0..STREAMS.len() {
            let delay_us = self.chance.within(10_000..500_000);
            self.queue.after(delay_us, SimEvent::CatchUp(stream, server));
            self.retry_pulls(stream);
        }
    }

    fn show_all(&mut self, stream: usize) {
        (0..self.plan.servers).for_each(|server| self.jet.show_all(STREAMS[stream], server));
        self.retry_pulls(stream);
    }

    fn set_quality(&mut self, quality: &LinkQuality) {
        for node in &mut self.nodes {
            node.to.set_quality(quality.clone());
            node.from.set_quality(quality.clone());
        }
    }

    fn lose_feed(&mut self, per_mille: u64) {
        let Some(last) = self.last_or_next("FEED", "feed.*.*.*.*", None).map(|last| last.seq) else { return };
        let Some(first) = self.last_or_next("FEED", "feed.>", Some(1)).map(|first| first.seq) else { return };
        let before = first + (last + 1 - first) * per_mille / 1_000;
        self.feed_losses.push((self.queue.now_us(), before));
        self.purge(0, "feed.>", before);
    }

    fn purge(&mut self, stream: usize, filter: &str, before: u64) {
        let request = Request::Purge { stream: STREAMS[stream].to_owned(), filter: filter.into(), before };
        // The answer has no receiver.
        drop(self.jet.ask(self.queue.now_us(), request));
        self.queue.after(1_000, SimEvent::Decide(stream));
    }
}
