//! A client with one user's password that tries actions which the user must not perform.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Message, ServerError, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::server::Server;
use crate::users::password;

/// Connection name, which distinguishes it from services in the server's log.
pub const NAME: &str = "attacker";
/// Longest wait for an answer of the server.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A connection that records every refusal.
#[derive(Debug)]
pub struct Attacker {
    client: Client,
    user: String,
    refusals: mpsc::UnboundedReceiver<String>,
    barriers: u64,
}

impl Attacker {
    /// Connects as a user; an empty user is the viewer without a password.
    pub async fn connect(server: &Server, user: &str) -> Self {
        Self::connect_to(&server.url(), user, &password(user)).await
    }

    /// Connects to an address as a user; an empty password is the viewer.
    pub async fn connect_to(url: &str, user: &str, password: &str) -> Self {
        let (sender, refusals) = mpsc::unbounded_channel();
        let note = move |event| {
            if let Event::ServerError(ServerError::Other(detail)) = event {
                drop(sender.send(detail));
            }
            std::future::ready(())
        };
        let options = ConnectOptions::new().name(NAME).event_callback(note);
        let options = match user {
            "viewer" => options,
            user => options.user_and_password(user.to_owned(), password.to_owned()),
        };
        let client = options.connect(url).await.unwrap();
        Self { client, user: user.to_owned(), refusals, barriers: 0 }
    }

    /// A reply subject that this user may subscribe to.
    fn inbox(&self) -> String {
        match self.user.as_str() {
            "viewer" => self.client.new_inbox(),
            user => self.client.new_inbox().replacen("_INBOX", &format!("_INBOX_{user}"), 1),
        }
    }

    /// Publishes, and returns whether the server denied it.
    pub async fn is_publish_denied(&mut self, subject: &str, reply: Option<&str>, body: &str) -> bool {
        let body = Bytes::from(body.to_owned());
        let reply = reply.map_or_else(|| self.inbox(), str::to_owned);
        self.client.publish_with_reply(subject.to_owned(), reply, body).await.unwrap();
        self.is_denied(&format!("Publish to \"{subject}\"")).await
    }

    /// Subscribes, and returns whether the server denied it.
    pub async fn is_subscribe_denied(&mut self, subject: &str) -> bool {
        // Kept until the server has answered: a subscription dropped at once is never sent.
        let _subscriber = self.client.subscribe(subject.to_owned()).await.unwrap();
        self.is_denied(&format!("Subscription to \"{subject}\"")).await
    }

    /// Subscribes to a subject.
    pub async fn listen(&mut self, subject: &str) -> Subscriber {
        let subscriber = self.client.subscribe(subject.to_owned()).await.unwrap();
        assert!(!self.is_denied(&format!("Subscription to \"{subject}\"")).await, "{subject}");
        subscriber
    }

    /// Sends a request and returns the answer, which must arrive.
    pub async fn ask(&self, subject: &str, body: &str) -> Message {
        let inbox = self.inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.unwrap();
        self.client.publish_with_reply(subject.to_owned(), inbox, body.to_owned().into()).await.unwrap();
        let answer = tokio::time::timeout(ANSWER_MAX, answers.next()).await;
        answer.unwrap_or_else(|_| panic!("{} is not answered on {subject}", self.user)).unwrap()
    }

    /// Waits until everything sent by the server before has arrived.
    pub async fn barrier(&mut self) {
        self.is_denied("").await;
    }

    /// Whether a request is refused, by a status or an error.
    pub async fn is_refused(&self, subject: &str, body: &str) -> bool {
        let answer = self.ask(subject, body).await;
        let error =
            serde_json::from_slice::<Value>(&answer.payload).ok().and_then(|answer| answer.get("error").cloned());
        answer.status.is_some() || error.is_some()
    }

    /// Whether a refusal with this text arrived. The server answers in order, so a forbidden action is sent last: once
    /// its refusal arrives, all earlier ones have arrived.
    async fn is_denied(&mut self, words: &str) -> bool {
        self.barriers += 1;
        let barrier = format!("barrier.{}", self.barriers);
        self.client.publish(barrier.clone(), Bytes::new()).await.unwrap();
        let mut is_denied = false;
        loop {
            let refusal = tokio::time::timeout(ANSWER_MAX, self.refusals.recv()).await;
            let refusal = refusal.expect("the server denies the forbidden action").expect("the client runs");
            if refusal.contains(&barrier) {
                return is_denied;
            }
            is_denied |= refusal.contains("Permissions Violation") && refusal.contains(words);
        }
    }
}
