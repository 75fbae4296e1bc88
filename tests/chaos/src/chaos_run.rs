//! A run: the processes, and the disturbances applied to them.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;
use bus::Connection;
use pipeline_tests::instance::{Condition, Instance};
use pipeline_tests::test_pipeline::{LEASE_TTL_VARIABLE, TestPipeline};

use super::broker::Broker;
use super::options::Options;
use super::outcome::{output, program};
use super::plan::{Action, Disturbance, Target};
use super::replay::{dir_of, replay, speed};
use super::verdict::Tally;
use super::watch::{StreamSnapshot, pending, step_of};

/// How often the processes are checked.
const STEP: Duration = Duration::from_millis(5);
/// How often the health of the servers is checked.
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// How often the streams are read.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(30);
/// How long a target may take to commit again, beyond the lease time to live, before it is hit anyway.
const WAIT_FOR_COMMIT: Duration = Duration::from_secs(10);
/// How long the rest of the recording may take after the last disturbance.
const FINISH_MAX: Duration = Duration::from_secs(300);

/// Target of a kill: a description of a process that has committed since its start while records are pending, or the
/// reason why the kill is not effective.
type KillTarget = Result<String, &'static str>;

/// A process and its observed progress.
#[derive(Debug)]
struct Process {
    target: Target,
    instance: Instance,
    /// Time of the first commit seen since its start.
    committed: Option<Instant>,
    /// Last sequence of FEED at the first observation after the start: the producer's later output is counted from it.
    feed_base: Option<u64>,
}

/// A running pipeline under disturbances.
#[derive(Debug)]
pub(super) struct ChaosRun<B: Broker> {
    pub(super) options: Options,
    pub(super) pipeline: TestPipeline<B>,
    pub(super) tally: Tally,
    files: Vec<String>,
    processes: Vec<Process>,
    admin: Connection,
    snapshot_at: Instant,
    /// The killed server, and when to restart it.
    broker_down: Option<(usize, Instant)>,
    /// Time of the last health check of the servers.
    asked_at: Instant,
    /// Whether the rest of the recording is replayed at full speed.
    hurry: bool,
    started: Instant,
}

impl<B: Broker> ChaosRun<B> {
    /// Starts the services and the replay.
    ///
    /// # Errors
    /// The log file cannot be written.
    pub(super) async fn open(pipeline: TestPipeline<B>, options: Options, files: &[String]) -> anyhow::Result<Self> {
        let admin = pipeline.server.admin().await;
        let now = Instant::now();
        let mut run = Self {
            options,
            pipeline,
            tally: Tally::default(),
            files: files.to_owned(),
            processes: Vec::new(),
            admin,
            snapshot_at: now,
            broker_down: None,
            asked_at: now,
            hurry: false,
            started: now,
        };
        let each = (0..run.options.instances).flat_map(|idx| [Target::Processor(idx), Target::Aggregator(idx)]);
        for target in each.chain([Target::Producer]) {
            let mut command = run.command(target);
            let instance = Instance::start(&target.to_string(), dir_of(&run.pipeline), &mut command)?;
            run.processes.push(Process { target, instance, committed: None, feed_base: None });
        }
        Ok(run)
    }

    fn command(&self, target: Target) -> Command {
        let mut command = match target {
            Target::Producer => replay(&self.pipeline, &self.files),
            Target::Processor(_) => program(&self.pipeline, "stream-processor", &["run"]),
            Target::Aggregator(_) => program(&self.pipeline, "aggregator", &["run"]),
        };
        if target == Target::Producer && !self.hurry {
            command.args(["--speed", &speed()]);
        }
        let lease_ttl = format!("{}ms", self.options.lease_ttl.as_millis());
        command.env(LEASE_TTL_VARIABLE, lease_ttl).env("CANDLEWIRE_LOG", "info,async_nats=off");
        command
    }

    /// Applies the plan, or as much of it as the time limit allows.
    ///
    /// # Errors
    /// A process ended by itself.
    pub(super) async fn disturb(&mut self, plan: &[Disturbance]) -> anyhow::Result<()> {
        let mut due = Instant::now();
        for one in plan {
            due += one.gap;
            let kill_target = loop {
                if self.is_time_for(one, due)
                    && let Some(kill_target) = self.kill_target_of(one, due).await
                {
                    break kill_target;
                }
                if self.started.elapsed() > self.options.limit || self.is_done(Target::Producer) {
                    self.say("the time limit ended the plan early");
                    return Ok(());
                }
                self.update().await?;
                tokio::time::sleep(STEP).await;
            };
            self.apply(one, kill_target);
            due = Instant::now();
        }
        Ok(())
    }

    /// Restarts all processes, replays the rest at full speed, and waits until all is committed.
    ///
    /// # Errors
    /// A process ended by itself, or it takes too long.
    pub(super) async fn finish(&mut self) -> anyhow::Result<()> {
        self.say("disturbances are over");
        let deadline = Instant::now() + FINISH_MAX;
        let is_settled = |one: &Process| matches!(one.instance.condition(), Condition::Up | Condition::Done);
        while self.broker_down.is_some() || !self.processes.iter().all(is_settled) {
            self.update().await?;
            tokio::time::sleep(STEP).await;
        }
        // A producer that has just started does not handle SIGTERM yet.
        while !self.is_done(Target::Producer) && self.process(Target::Producer).committed.is_none() {
            if Instant::now() > deadline {
                bail!("the producer did not continue within {} s", FINISH_MAX.as_secs());
            }
            self.update().await?;
            tokio::time::sleep(STEP).await;
        }
        self.hurry = true;
        if !self.is_done(Target::Producer) {
            self.process(Target::Producer).instance.terminate(Duration::ZERO);
        }
        while !self.is_done(Target::Producer) {
            if Instant::now() > deadline {
                bail!("the replay did not end within {} s", FINISH_MAX.as_secs());
            }
            self.update().await?;
            tokio::time::sleep(STEP).await;
        }
        output(program(&self.pipeline, "topology", &["wait"])).await?;
        self.update().await?;
        self.pipeline.server.settle();
        self.say("every step has committed all of its input");
        Ok(())
    }

    /// Lines of all logs with this text, each prefixed with its process.
    pub(super) fn lines_with(&self, text: &str) -> Vec<String> {
        let of = |one: &Process| {
            let target = one.target;
            one.instance.lines_with(text).into_iter().map(move |line| format!("{target}: {line}"))
        };
        self.processes.iter().flat_map(of).collect()
    }

    /// Keeps the folder of logs and data after the run.
    pub(super) fn keep(&mut self) -> PathBuf {
        self.pipeline.server.keep();
        self.pipeline.dir.disable_cleanup(true);
        dir_of(&self.pipeline).to_owned()
    }

    fn say(&self, text: &str) {
        (self.options.say)(&format!("{:7.1} s  {text}", self.started.elapsed().as_secs_f64()));
    }

    fn process(&mut self, target: Target) -> &mut Process {
        let found = self.processes.iter_mut().find(|one| one.target == target);
        found.expect("the plan is made for these instances")
    }

    fn is_done(&self, target: Target) -> bool {
        self.processes.iter().any(|one| one.target == target && one.instance.condition() == Condition::Done)
    }

    /// Whether the target has been at work for a moment, or has had its time to be.
    fn is_time_for(&mut self, one: &Disturbance, due: Instant) -> bool {
        let is_reachable = B::SURVIVES || self.broker_down.is_none();
        if Instant::now() < due || !is_reachable || (one.hits_broker() && !self.is_broker_whole()) {
            return false;
        }
        if one.action == Action::Broker {
            return true;
        }
        let has_waited_enough = self.has_waited_enough(due);
        // Without ticks, a kill hits no process at work.
        let producer = self.process(Target::Producer);
        let is_flowing = producer.instance.condition() == Condition::Up && producer.committed.is_some();
        let target = self.process(one.target);
        let is_at_work = is_flowing && target.committed.is_some_and(|since| since.elapsed() >= one.settle);
        target.instance.condition() == Condition::Up && (is_at_work || has_waited_enough)
    }

    fn has_waited_enough(&self, due: Instant) -> bool {
        due.elapsed() > WAIT_FOR_COMMIT + self.options.lease_ttl
    }

    /// The target of a kill now; `None` while it is not known.
    async fn kill_target_of(&mut self, one: &Disturbance, due: Instant) -> Option<KillTarget> {
        if !one.is_kill() {
            return Some(Ok(String::new()));
        }
        if self.process(one.target).committed.is_none() {
            return Some(Err("it has not committed yet"));
        }
        let Some(step) = step_of(one.target) else { return Some(Ok("with rows to publish".to_owned())) };
        match pending(&self.admin, step).await {
            // A kill without pending input tests nothing: wait for the next record.
            Some(0) if !self.has_waited_enough(due) => None,
            Some(0) => Some(Err("nothing was pending")),
            Some(partitions) => Some(Ok(format!("with input pending in {partitions} partitions"))),
            None if self.has_waited_enough(due) => Some(Err("the streams did not answer")),
            None => None,
        }
    }

    /// Whether a server may be killed: all are up. Checked only every [`CHECK_EVERY`].
    fn is_broker_whole(&mut self) -> bool {
        if self.broker_down.is_some() || self.asked_at.elapsed() < CHECK_EVERY {
            return false;
        }
        self.asked_at = Instant::now();
        self.pipeline.server.is_whole()
    }

    /// Restarts and wakes processes that are due, and observes commits.
    async fn update(&mut self) -> anyhow::Result<()> {
        if let Some((node, _)) = self.broker_down.take_if(|(_, until)| Instant::now() >= *until) {
            self.pipeline.server.restart(node);
        }
        for idx in 0..self.processes.len() {
            if self.processes[idx].instance.tend()? {
                let mut command = self.command(self.processes[idx].target);
                let process = &mut self.processes[idx];
                process.instance.start_again(&mut command)?;
                (process.committed, process.feed_base) = (None, None);
            }
            if self.processes[idx].instance.condition() == Condition::Done
                && self.processes[idx].target != Target::Producer
            {
                bail!("{} ended by itself", self.processes[idx].target);
            }
        }
        if (B::SURVIVES || self.broker_down.is_none()) && self.snapshot_at.elapsed() >= SNAPSHOT_EVERY {
            if let Some(snapshot) = StreamSnapshot::take(&self.admin).await {
                self.notice(&snapshot);
            }
            self.snapshot_at = Instant::now();
        }
        Ok(())
    }

    /// Records which processes have committed since their start.
    fn notice(&mut self, snapshot: &StreamSnapshot) {
        for one in &mut self.processes {
            let has_committed = match step_of(one.target) {
                Some(step) => one.instance.prefix().is_some_and(|prefix| snapshot.has_batch_of(step, prefix)),
                None => snapshot.feed_last > *one.feed_base.get_or_insert(snapshot.feed_last),
            };
            if has_committed {
                one.committed.get_or_insert_with(Instant::now);
            }
        }
    }

    fn apply(&mut self, one: &Disturbance, kill_target: KillTarget) {
        match one.action {
            Action::Broker => self.kill_broker(one),
            Action::Freeze => {
                self.tally.freezes += 1;
                self.say(&format!("freeze    {} for {:.1} s", one.target, one.away.as_secs_f64()));
                self.process(one.target).instance.freeze(one.away);
            }
            Action::Terminate => {
                self.count_kill("SIGTERM", one.target, kill_target);
                self.process(one.target).instance.terminate(one.away);
            }
            Action::Kill { with_broker } => {
                self.count_kill("kill -9", one.target, kill_target);
                self.process(one.target).instance.kill(one.away);
                if with_broker {
                    self.kill_broker(one);
                }
            }
        }
    }

    fn kill_broker(&mut self, one: &Disturbance) {
        self.tally.broker_restarts += 1;
        let node = self.pipeline.server.kill_leader(one.stream);
        let who = if B::SURVIVES {
            format!("nats-server {node}, leader of {},", one.stream)
        } else {
            "nats-server".to_owned()
        };
        self.say(&format!("kill -9   {who} for {:.1} s", one.broker_away.as_secs_f64()));
        self.broker_down = Some((node, Instant::now() + one.broker_away));
    }

    fn count_kill(&mut self, what: &str, target: Target, kill_target: KillTarget) {
        self.tally.kills += 1;
        self.tally.effective += usize::from(kill_target.is_ok());
        let note = kill_target.unwrap_or_else(|why| format!("not effective: {why}"));
        self.say(&format!("{what:<9} {target}, {note}"));
    }
}
