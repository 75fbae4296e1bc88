//! The publisher: sends messages with ids to FEED, each again until it is confirmed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::jetstream::{Answer, Message, Request};
use crate::random::Random;
use crate::world::executor::{Destination, ProcessIo, Tasks};
use crate::world::feed::{Feed, NAMES, Published};
use crate::world::process::Program;
use crate::world::wire::EPOCH_MS;

const ANSWER_MAX: Duration = Duration::from_secs(1);

/// The messages to publish.
pub(crate) enum Script {
    /// Random messages.
    Drawn { random: Random, count: usize },
    /// Given messages.
    Fixed(Vec<Published>),
}

/// A process that publishes.
pub(crate) struct Publisher {
    io: ProcessIo,
    tasks: Tasks,
}

impl Publisher {
    /// Publishes the script, then after `calm_at` the end of each instrument's recording; then it sets `is_done`.
    pub(crate) fn new(io: ProcessIo, script: Script, calm_at: Duration, is_done: Arc<AtomicBool>) -> Self {
        let mut tasks = Tasks::default();
        let sending = io.clone();
        tasks.spawn(&io, async move {
            let mut sender = Sender { io: sending, sent: 0 };
            sender.publish_all(script, calm_at).await;
            is_done.store(true, Ordering::Relaxed);
        });
        Self { io, tasks }
    }
}

impl Program for Publisher {
    fn run(&mut self) {
        self.tasks.run(&self.io);
    }

    fn wakes_at(&self) -> Option<Duration> {
        self.io.wakes_at()
    }
}

struct Sender {
    io: ProcessIo,
    sent: u64,
}

impl Sender {
    fn now_ms(&self) -> i64 {
        EPOCH_MS + self.io.now().as_millis() as i64
    }

    async fn publish_all(&mut self, script: Script, calm_at: Duration) {
        match script {
            Script::Fixed(messages) => {
                for message in messages {
                    self.publish(message).await;
                }
                self.io.sleep(calm_at.saturating_sub(self.io.now())).await;
            }
            Script::Drawn { random, count } => {
                let mut feed = Feed::new(random, self.now_ms());
                for _ in 0..count {
                    let message = feed.next(self.now_ms());
                    self.publish(message).await;
                }
                self.io.sleep(calm_at.saturating_sub(self.io.now())).await;
                for one in 0..NAMES.len() {
                    for message in feed.end(one, self.now_ms()) {
                        self.publish(message).await;
                    }
                }
            }
        }
    }

    async fn publish(&mut self, published: Published) {
        self.io.sleep(published.pause).await;
        self.sent += 1;
        let message = Message::new(&published.subject, published.payload).id(&format!("m{}", self.sent));
        loop {
            let answer = self.io.ask(Destination::Leader, Request::Publish(message.clone()), ANSWER_MAX).await;
            if let Some(Answer::Stored { .. }) = answer.map(|response| response.answer) {
                return;
            }
            self.io.sleep(Duration::from_millis(50)).await;
        }
    }
}
