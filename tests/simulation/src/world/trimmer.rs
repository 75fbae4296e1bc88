//! Trims MARKET like `topology trim`: messages that a reader still needs are kept.

use std::time::Duration;

use bus::protocol::{Position, decode_position};
use bus::stream::{STATS_STEP, Stream};
use bus::{Error, subject};
use serde::de::IgnoredAny;

use crate::jetstream::{Answer, Request};
use crate::world::client::{ANSWER_MAX, Client};
use crate::world::executor::{Destination, Tasks};
use crate::world::fault::Fault;
use crate::world::process::Program;
use crate::world::wire;

/// Messages older than this may be deleted.
const AGE: Duration = Duration::from_millis(1_500);

/// A process that trims from time to time.
pub(crate) struct Trimmer {
    client: Client,
    tasks: Tasks,
}

impl Trimmer {
    pub(crate) fn new(client: Client, partitions: u32) -> Self {
        let mut tasks = Tasks::default();
        let trimming = client.clone();
        tasks.spawn(&client.io, async move {
            loop {
                // A failed round is followed by another.
                drop(trim(&trimming, partitions).await);
            }
        });
        Self { client, tasks }
    }
}

impl Program for Trimmer {
    fn run(&mut self) {
        self.tasks.run(&self.client.io);
    }

    fn wakes_at(&self) -> Option<Duration> {
        self.client.io.wakes_at()
    }
}

async fn trim(client: &Client, partitions: u32) -> Result<(), Error> {
    let request = Request::Info { stream: Stream::Market.name().to_owned() };
    let answer = client.io.ask(Destination::Leader, request, ANSWER_MAX).await.map(|response| response.answer);
    client.io.sleep(AGE).await;
    let Some(Answer::Info(info)) = answer else { return Err(wire::unanswered("MARKET")) };
    let through = needed_no_more(client, partitions).await?;
    let to = through.into_iter().min().map_or(info.last_seq, |through| through.min(info.last_seq)) + 1;
    client.io.note(|| format!("trimming MARKET before {to}"));
    let (stream, filter) = (Stream::Market.name().to_owned(), subject::all(Stream::Market).as_str().into());
    client.io.ask(Destination::Leader, Request::Purge { stream, filter, before: to }, ANSWER_MAX).await;
    Ok(())
}

/// The input sequence that each partition of the aggregator no longer needs.
async fn needed_no_more(client: &Client, partitions: u32) -> Result<Vec<u64>, Error> {
    let stored = client.picture(Stream::Stats.name(), &subject::positions(Stream::Stats)).await?;
    let mut needless = Vec::new();
    for partition in 0..partitions {
        let subject = subject::position(Stream::Stats, partition);
        let mut position = stored.iter().find(|stored| stored.subject == subject).cloned();
        if position.is_none() {
            position = client.last_message(Stream::Stats.name(), &subject).await?;
        }
        if let Some(stored) = position {
            let position: Position<IgnoredAny> = decode_position(&stored)?;
            let is_planted = client.fault == Some(Fault::TrimmedToPosition);
            needless.push(if is_planted { position.position } else { position.needless() });
            continue;
        }
        for filter in subject::inputs(STATS_STEP, partition) {
            let next = client.next(Stream::Market.name(), &filter, 1).await?;
            needless.extend(next.map(|seq| seq - 1));
        }
    }
    Ok(needless)
}
