//! Start and end of disruptions.

use std::time::Duration;

use crate::jetstream::{Request, Survivors, Sync};
use crate::network::Weather;
use crate::world::plan::{Disaster, Plan, Trouble};
use crate::world::{Happening, STREAMS, World};

/// Disruptions in progress, counted by kind.
#[derive(Debug, Default)]
pub(super) struct Ongoing {
    pub(super) rough: u32,
    pub(super) gaps: u32,
    /// By server.
    pub(super) lags: Vec<u32>,
}

impl Ongoing {
    pub(super) fn new(servers: usize) -> Self {
        Self { lags: vec![0; servers], ..Self::default() }
    }
}

impl Plan {
    /// Whether MARKET may lose messages that STATS has read.
    pub(crate) fn loses_market(&self) -> bool {
        let is_cut = |disaster: &Disaster| matches!(disaster.trouble, Trouble::PowerCut { is_stats: false, .. });
        self.disasters.iter().any(is_cut)
    }

    /// Whether a power cut may tear a batch.
    pub(crate) fn tears(&self) -> bool {
        self.disasters.iter().any(|disaster| matches!(disaster.trouble, Trouble::PowerCut { .. }))
    }

    /// Whether FEED may lose its oldest messages.
    pub(crate) fn loses_feed(&self) -> bool {
        self.disasters.iter().any(|disaster| matches!(disaster.trouble, Trouble::LoseFeed { .. }))
    }
}

impl World {
    pub(super) fn trouble(&mut self, idx: usize) {
        let Disaster { lasts, trouble, .. } = self.plan.disasters[idx];
        self.note(|| format!("{trouble:?} for {:.3} s", lasts.as_secs_f64()));
        match trouble {
            Trouble::Crash { process } if self.nodes[process].program.is_some() => self.end(process, lasts),
            Trouble::Stop { process } => {
                if let Some(program) = &mut self.nodes[process].program {
                    program.stop();
                    self.go_on(process);
                }
            }
            Trouble::Freeze { process } => self.nodes[process].is_frozen = true,
            Trouble::Jump { process } => {
                self.nodes[process].offset += lasts;
                self.nodes[process].wake_us = None;
                self.go_on(process);
            }
            Trouble::Cut { process } => {
                self.nodes[process].to.cut();
                self.nodes[process].from.cut();
            }
            Trouble::Rough => {
                self.troubles.rough += 1;
                self.set_weather(&Weather::ROUGH);
            }
            Trouble::Gaps => self.troubles.gaps += 1,
            Trouble::LoseLeases => self.purge(3, "$KV.LEASES.>", 0),
            Trouble::Hang { server } => self.jet.freeze(server),
            Trouble::Kill { server } => self.jet.kill(server),
            Trouble::PowerCut { is_stats, commits, messages } if self.plan.sync == Sync::Later => {
                let victim = if is_stats { "STATS" } else { "MARKET" };
                STREAMS.iter().filter(|stream| **stream != victim).for_each(|stream| self.jet.sync_stream(stream, 0));
                self.jet.cut_power(0, Survivors { commits, messages });
                // The steps run on the same machine; the README explains why.
                self.crash_steps(lasts);
            }
            Trouble::StepDown { stream } => {
                let server = self.chance.index(self.plan.servers);
                self.lead(stream, server);
            }
            Trouble::Lag { server } => self.troubles.lags[server] += 1,
            Trouble::Halfway { stream } => {
                let messages = self.chance.below(4);
                let server = self.chance.index(self.plan.servers);
                self.jet.show_only(STREAMS[stream], server, messages);
            }
            Trouble::Full => {
                let bytes = self.jet.bytes();
                self.jet.set_room(Some(bytes));
            }
            Trouble::LoseFeed { per_mille } => self.lose_feed(per_mille),
            Trouble::Crash { .. } | Trouble::PowerCut { .. } => {}
        }
    }

    pub(super) fn over(&mut self, idx: usize) {
        if Duration::from_micros(self.queue.now_us()) >= self.plan.calm_at {
            // All disruptions have ended already.
            return;
        }
        match self.plan.disasters[idx].trouble {
            Trouble::Freeze { process } => self.wake(process),
            Trouble::Cut { process } => {
                self.nodes[process].to.mend();
                self.nodes[process].from.mend();
            }
            Trouble::Rough => {
                self.troubles.rough -= 1;
                if self.troubles.rough == 0 {
                    self.set_weather(&Weather::CALM);
                }
            }
            Trouble::Gaps => self.troubles.gaps -= 1,
            Trouble::Hang { server } | Trouble::Kill { server } => self.bring_back(server),
            Trouble::PowerCut { .. } => self.bring_back(0),
            Trouble::Lag { server } => self.troubles.lags[server] -= 1,
            Trouble::Halfway { stream } => self.show_all(stream),
            Trouble::Full => self.jet.set_room(None),
            Trouble::Crash { .. }
            | Trouble::Stop { .. }
            | Trouble::Jump { .. }
            | Trouble::LoseLeases
            | Trouble::StepDown { .. }
            | Trouble::LoseFeed { .. } => {}
        }
    }

    /// Ends all disruptions.
    pub(super) fn calm_down(&mut self) {
        self.note(|| "all is calm".to_owned());
        self.troubles = super::troubles::Ongoing::new(self.plan.servers);
        self.set_weather(&Weather::CALM);
        self.jet.set_room(None);
        (0..self.plan.servers).for_each(|server| self.bring_back(server));
        (0..STREAMS.len()).for_each(|stream| self.show_all(stream));
        for node in 0..self.nodes.len() {
            self.nodes[node].to.mend();
            self.nodes[node].from.mend();
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
            for (id, packet) in std::mem::take(&mut place.held) {
                place.io.answer(id, packet);
            }
            self.go_on(node);
        }
    }

    fn bring_back(&mut self, server: usize) {
        self.jet.wake(server);
        self.jet.restart(server, self.queue.now_us());
        for stream in 0..STREAMS.len() {
            let delay_us = self.chance.within(10_000..500_000);
            self.queue.after(delay_us, Happening::CatchUp(stream, server));
            self.stir(stream);
        }
    }

    fn show_all(&mut self, stream: usize) {
        (0..self.plan.servers).for_each(|server| self.jet.show_all(STREAMS[stream], server));
        self.stir(stream);
    }

    fn set_weather(&mut self, weather: &Weather) {
        for node in &mut self.nodes {
            node.to.set_weather(weather.clone());
            node.from.set_weather(weather.clone());
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
        self.queue.after(1_000, Happening::Decide(stream));
    }
}
