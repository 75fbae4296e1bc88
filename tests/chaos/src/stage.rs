//! The processes, and what is done to them.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;
use bus::Connection;
use pipeline_tests::instance::{Condition, Instance};
use pipeline_tests::world::{LEASE_TTL_VARIABLE, World};

use super::broker::Broker;
use super::outcome::{output, program};
use super::plan::{Act, Disturbance, Target};
use super::verdict::Tally;
use super::watch::{Look, pending, step_of};
use super::{Options, dir_of, replay, speed};

/// How often the processes are looked at.
const STEP: Duration = Duration::from_millis(5);
/// How often servers are asked whether they are whole.
const ASK: Duration = Duration::from_millis(250);
/// How often the streams are looked at.
const LOOK: Duration = Duration::from_millis(30);
/// How long a target may take to commit again before it is hit nevertheless, beyond what a lease lives.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the rest of the recording may take once nothing is disturbed any more.
const FINISH_MAX: Duration = Duration::from_secs(300);

/// What a kill hits: somebody who has committed since his start while records are pending, or why it is not effective.
type Sight = Result<String, &'static str>;

/// An instance and what was seen of it.
#[derive(Debug)]
struct Actor {
    target: Target,
    instance: Instance,
    /// When it was first seen to have committed since its start.
    committed: Option<Instant>,
    /// Last sequence of FEED when it was first looked at after the start: what the producer adds to.
    feed_base: Option<u64>,
}

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Stage<B: Broker> {
    pub(super) options: Options,
    pub(super) world: World<B>,
    pub(super) tally: Tally,
    files: Vec<String>,
    actors: Vec<Actor>,
    admin: Connection,
    looked_at: Instant,
    /// The server that is away, and until when.
    struck: Option<(usize, Instant)>,
    /// When it was last asked whether the servers are whole.
    asked_at: Instant,
    /// Whether the rest of the recording is replayed as fast as it goes.
    hurry: bool,
    started: Instant,
}

impl<B: Broker> Stage<B> {
    /// Starts the services and the replay.
    ///
    /// # Errors
    /// A log cannot be written.
    pub(super) async fn open(world: World<B>, options: Options, files: &[String]) -> anyhow::Result<Self> {
        let admin = world.server.admin().await;
        let now = Instant::now();
        let mut stage = Self {
            options,
            world,
            tally: Tally::default(),
            files: files.to_owned(),
            actors: Vec::new(),
            admin,
            looked_at: now,
            struck: None,
            asked_at: now,
            hurry: false,
            started: now,
        };
        let each = (0..stage.options.instances).flat_map(|idx| [Target::Processor(idx), Target::Aggregator(idx)]);
        for target in each.chain([Target::Producer]) {
            let mut command = stage.command(target);
            let instance = Instance::start(&target.to_string(), dir_of(&stage.world), &mut command)?;
            stage.actors.push(Actor { target, instance, committed: None, feed_base: None });
        }
        Ok(stage)
    }

    fn command(&self, target: Target) -> Command {
        let mut command = match target {
            Target::Producer => replay(&self.world, &self.files),
            Target::Processor(_) => program(&self.world, "stream-processor", &["run"]),
            Target::Aggregator(_) => program(&self.world, "aggregator", &["run"]),
        };
        if target == Target::Producer && !self.hurry {
            command.args(["--speed", &speed()]);
        }
        let lease_ttl = format!("{}ms", self.options.lease_ttl.as_millis());
        command.env(LEASE_TTL_VARIABLE, lease_ttl).env("CANDLEWIRE_LOG", "info,async_nats=off");
        command
    }

    /// Does everything in the plan, or as much of it as there is time for.
    ///
    /// # Errors
    /// Something ended by itself.
    pub(super) async fn disturb(&mut self, plan: &[Disturbance]) -> anyhow::Result<()> {
        let mut due = Instant::now();
        for one in plan {
            due += one.gap;
            let sight = loop {
                if self.is_time_for(one, due)
                    && let Some(sight) = self.look_at(one, due).await
                {
                    break sight;
                }
                if self.started.elapsed() > self.options.limit || self.is_done(Target::Producer) {
                    self.say("time is over before everything in the plan was done");
                    return Ok(());
                }
                self.tend().await?;
                tokio::time::sleep(STEP).await;
            };
            self.hit(one, sight);
            due = Instant::now();
        }
        Ok(())
    }

    /// Starts everybody again, replays the rest at full speed and waits until all is committed.
    ///
    /// # Errors
    /// Something ended by itself, or it takes too long.
    pub(super) async fn finish(&mut self) -> anyhow::Result<()> {
        self.say("nothing is disturbed any more");
        let deadline = Instant::now() + FINISH_MAX;
        let is_settled = |one: &Actor| matches!(one.instance.condition(), Condition::Up | Condition::Done);
        while self.struck.is_some() || !self.actors.iter().all(is_settled) {
            self.tend().await?;
            tokio::time::sleep(STEP).await;
        }
        // A producer that has just been started does not listen to SIGTERM yet.
        while !self.is_done(Target::Producer) && self.actor(Target::Producer).committed.is_none() {
            if Instant::now() > deadline {
                bail!("the producer did not go on within {} s", FINISH_MAX.as_secs());
            }
            self.tend().await?;
            tokio::time::sleep(STEP).await;
        }
        self.hurry = true;
        if !self.is_done(Target::Producer) {
            self.actor(Target::Producer).instance.terminate(Duration::ZERO);
        }
        while !self.is_done(Target::Producer) {
            if Instant::now() > deadline {
                bail!("the replay did not end within {} s", FINISH_MAX.as_secs());
            }
            self.tend().await?;
            tokio::time::sleep(STEP).await;
        }
        output(program(&self.world, "topology", &["wait"])).await?;
        self.tend().await?;
        self.world.server.settle();
        self.say("every step has committed all of its input");
        Ok(())
    }

    /// Lines of all logs with this text, each with whose it is.
    pub(super) fn lines_with(&self, text: &str) -> Vec<String> {
        let of = |one: &Actor| {
            let target = one.target;
            one.instance.lines_with(text).into_iter().map(move |line| format!("{target}: {line}"))
        };
        self.actors.iter().flat_map(of).collect()
    }

    /// Keeps the folder of logs and data beyond the end.
    pub(super) fn keep(&mut self) -> PathBuf {
        self.world.server.keep();
        self.world.dir.disable_cleanup(true);
        dir_of(&self.world).to_owned()
    }

    fn say(&self, text: &str) {
        (self.options.say)(&format!("{:7.1} s  {text}", self.started.elapsed().as_secs_f64()));
    }

    fn actor(&mut self, target: Target) -> &mut Actor {
        let found = self.actors.iter_mut().find(|one| one.target == target);
        found.expect("the plan is made for these instances")
    }

    fn is_done(&self, target: Target) -> bool {
        self.actors.iter().any(|one| one.target == target && one.instance.condition() == Condition::Done)
    }

    /// Whether the target is at work and has been for a moment, or has had its time to be.
    fn is_time_for(&mut self, one: &Disturbance, due: Instant) -> bool {
        let is_reachable = B::SURVIVES || self.struck.is_none();
        if Instant::now() < due || !is_reachable || (one.hits_broker() && !self.is_broker_whole()) {
            return false;
        }
        if one.act == Act::Broker {
            return true;
        }
        let is_impatient = self.is_impatient(due);
        // While no ticks come, a kill hits nobody at work.
        let producer = self.actor(Target::Producer);
        let is_flowing = producer.instance.condition() == Condition::Up && producer.committed.is_some();
        let target = self.actor(one.target);
        let is_at_work = is_flowing && target.committed.is_some_and(|since| since.elapsed() >= one.settle);
        target.instance.condition() == Condition::Up && (is_at_work || is_impatient)
    }

    fn is_impatient(&self, due: Instant) -> bool {
        due.elapsed() > PATIENCE + self.options.lease_ttl
    }

    /// What a kill would hit now; `None` when that cannot be seen, for a while.
    async fn look_at(&mut self, one: &Disturbance, due: Instant) -> Option<Sight> {
        if !one.is_kill() {
            return Some(Ok(String::new()));
        }
        if self.actor(one.target).committed.is_none() {
            return Some(Err("it has not committed yet"));
        }
        let Some(step) = step_of(one.target) else { return Some(Ok("with rows to publish".to_owned())) };
        match pending(&self.admin, step).await {
            // A kill while nothing flows tests nothing: the next record is worth waiting for.
            Some(0) if !self.is_impatient(due) => None,
            Some(0) => Some(Err("nothing was pending")),
            Some(partitions) => Some(Ok(format!("with input pending in {partitions} partitions"))),
            None if self.is_impatient(due) => Some(Err("the streams did not answer")),
            None => None,
        }
    }

    /// Whether a server may be killed: all are there. Asked only now and then.
    fn is_broker_whole(&mut self) -> bool {
        if self.struck.is_some() || self.asked_at.elapsed() < ASK {
            return false;
        }
        self.asked_at = Instant::now();
        self.world.server.is_whole()
    }

    /// Undoes what is due, and looks at what is committed.
    async fn tend(&mut self) -> anyhow::Result<()> {
        if let Some((node, _)) = self.struck.take_if(|(_, until)| Instant::now() >= *until) {
            self.world.server.mend(node);
        }
        for idx in 0..self.actors.len() {
            if self.actors[idx].instance.tend()? {
                let mut command = self.command(self.actors[idx].target);
                let actor = &mut self.actors[idx];
                actor.instance.start_again(&mut command)?;
                (actor.committed, actor.feed_base) = (None, None);
            }
            if self.actors[idx].instance.condition() == Condition::Done && self.actors[idx].target != Target::Producer {
                bail!("{} ended by itself", self.actors[idx].target);
            }
        }
        if (B::SURVIVES || self.struck.is_none()) && self.looked_at.elapsed() >= LOOK {
            if let Some(look) = Look::take(&self.admin).await {
                self.notice(&look);
            }
            self.looked_at = Instant::now();
        }
        Ok(())
    }

    /// Notes who has committed since its start.
    fn notice(&mut self, look: &Look) {
        for one in &mut self.actors {
            let has_committed = match step_of(one.target) {
                Some(step) => one.instance.prefix().is_some_and(|prefix| look.has_batch_of(step, prefix)),
                None => look.feed_last > *one.feed_base.get_or_insert(look.feed_last),
            };
            if has_committed {
                one.committed.get_or_insert_with(Instant::now);
            }
        }
    }

    fn hit(&mut self, one: &Disturbance, sight: Sight) {
        match one.act {
            Act::Broker => self.kill_broker(one),
            Act::Freeze => {
                self.tally.freezes += 1;
                self.say(&format!("freeze    {} for {:.1} s", one.target, one.away.as_secs_f64()));
                self.actor(one.target).instance.freeze(one.away);
            }
            Act::Terminate => {
                self.count_kill("SIGTERM", one.target, sight);
                self.actor(one.target).instance.terminate(one.away);
            }
            Act::Kill { with_broker } => {
                self.count_kill("kill -9", one.target, sight);
                self.actor(one.target).instance.kill(one.away);
                if with_broker {
                    self.kill_broker(one);
                }
            }
        }
    }

    fn kill_broker(&mut self, one: &Disturbance) {
        self.tally.broker_restarts += 1;
        let node = self.world.server.strike(one.stream);
        let who = if B::SURVIVES {
            format!("nats-server {node}, leader of {},", one.stream)
        } else {
            "nats-server".to_owned()
        };
        self.say(&format!("kill -9   {who} for {:.1} s", one.broker_away.as_secs_f64()));
        self.struck = Some((node, Instant::now() + one.broker_away));
    }

    fn count_kill(&mut self, what: &str, target: Target, sight: Sight) {
        self.tally.kills += 1;
        self.tally.effective += usize::from(sight.is_ok());
        let note = sight.unwrap_or_else(|why| format!("not effective: {why}"));
        self.say(&format!("{what:<9} {target}, {note}"));
    }
}
