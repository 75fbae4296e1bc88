//! A real nats-server, queried with the requests of the simulation.

use std::sync::Arc;

use async_nats::{HeaderMap, Subscriber};
use bus::Connection;
use bytes::Bytes;
use data_encoding::BASE64;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use simulation::jetstream::{ConsumerDelivery, Info, LogEntry, Refusal};
use simulation::{Answer, Message, Request};

use crate::programs::NEVER;

/// Sends requests to a server and translates its answers.
#[derive(Debug)]
pub struct Mirror {
    connection: Connection,
    /// Consumer names, by the numbers of a case.
    consumers: Vec<String>,
    live: Subscriber,
}

impl Mirror {
    /// Starts with a connection that may do everything.
    pub async fn new(connection: Connection) -> Self {
        let live = connection.client().subscribe("live.>").await.unwrap();
        connection.client().flush().await.unwrap();
        Self { connection, consumers: Vec::new(), live }
    }

    /// Sends a request and returns the answer.
    pub async fn ask(&mut self, request: &Request) -> Answer {
        match request {
            Request::Publish(message) => self.publish(message).await,
            Request::Commit(messages) => {
                let (last, others) = messages.split_last().unwrap();
                for message in others {
                    let Message { subject, payload, .. } = message;
                    let sent = self.connection.client().publish_with_headers(
                        subject.to_string(),
                        headers_of(message),
                        payload.clone(),
                    );
                    sent.await.unwrap();
                }
                self.publish(last).await
            }
            Request::Last { stream, filter } => self.one(stream, &json!({ "last_by_subj": filter.as_ref() })).await,
            Request::Next { stream, filter, from } => {
                self.one(stream, &json!({ "seq": from, "next_by_subj": filter.as_ref() })).await
            }
            Request::LastPerSubject { stream, filter, up_to } => self.picture(stream, filter, *up_to).await,
            Request::Info { stream } => self.info(stream).await,
            Request::Consume { stream, filters, from } => {
                let filters: Vec<&str> = filters.iter().map(AsRef::as_ref).collect();
                self.consume(stream, &filters, *from).await
            }
            Request::Pull { stream, consumer, max } => self.pull(stream, *consumer, *max).await,
            Request::Purge { stream, filter, before } => {
                let body = json!({ "filter": filter.as_ref(), "seq": before });
                let answer = self.api(&format!("STREAM.PURGE.{stream}"), &body).await;
                read(answer, |answer| Answer::Purged(number(answer, "purged")))
            }
            Request::Delete { stream, seq } => {
                let body = json!({ "seq": seq, "no_erase": true });
                read(self.api(&format!("STREAM.MSG.DELETE.{stream}"), &body).await, |_| Answer::Deleted)
            }
        }
    }

    /// The lines that MARKET has republished so far; waits for this many.
    pub async fn live(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            let message = tokio::time::timeout(NEVER, self.live.next()).await.expect("results are republished");
            let message = message.unwrap();
            let headers = message.headers.unwrap_or_default();
            let header = |name: &str| headers.get(name).map(ToString::to_string).unwrap_or_default();
            let text = String::from_utf8_lossy(&message.payload);
            let (seq, previous) = (header("Nats-Sequence"), header("Nats-Last-Sequence"));
            lines.push(format!("{} {seq} after {previous} {text:.20}", message.subject));
        }
        lines
    }

    async fn publish(&self, message: &Message) -> Answer {
        let subject = message.subject.to_string();
        let headers = Some(headers_of(message)).filter(|headers| !headers.is_empty());
        let answer = self.connection.request(subject, headers, message.payload.clone()).await;
        let Ok(answer) = answer else { return Answer::Refused(Refusal::NO_RESPONDERS) };
        if answer.payload.is_empty() {
            return Answer::Staged;
        }
        let answer = serde_json::from_slice(&answer.payload).unwrap();
        read(Ok(answer), |answer| {
            let seq = number(answer, "seq");
            match answer.get("count").and_then(Value::as_u64) {
                Some(count) => Answer::Committed { seq, count },
                None => Answer::Stored { seq, is_duplicate: answer["duplicate"] == true },
            }
        })
    }

    /// One message, read from the leader.
    async fn one(&self, stream: &str, body: &Value) -> Answer {
        const NOT_FOUND: u32 = 10_037;
        match read(self.api(&format!("STREAM.MSG.GET.{stream}"), body).await, |answer| {
            let message = &answer["message"];
            let payload = BASE64.decode(message["data"].as_str().unwrap_or_default().as_bytes()).unwrap();
            let subject = message["subject"].as_str().unwrap();
            Answer::Message(Some(stored(number(message, "seq"), subject, payload.into())))
        }) {
            Answer::Refused(Refusal { err_code: NOT_FOUND, .. }) => Answer::Message(None),
            answer => answer,
        }
    }

    /// Several messages, read from any server.
    async fn picture(&self, stream: &str, filter: &str, up_to: u64) -> Answer {
        let client = self.connection.client();
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.unwrap();
        let mut body = json!({ "multi_last": [filter] });
        if up_to > 0 {
            body["up_to_seq"] = json!(up_to);
        }
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        client.publish_with_reply(subject, inbox, body.to_string().into()).await.unwrap();
        let mut found = Vec::new();
        loop {
            let message = tokio::time::timeout(NEVER, answers.next()).await.unwrap().unwrap();
            match message.status.map(|status| status.as_u16()) {
                Some(204 | 404) => return Answer::Messages(found),
                Some(code) => return Answer::Refused(Refusal::new(code, 0)),
                None => {
                    let headers = message.headers.unwrap();
                    let header = |name: &str| headers.get(name).unwrap().to_string();
                    let seq = header("Nats-Sequence").parse().unwrap();
                    found.push(stored(seq, &header("Nats-Subject"), message.payload));
                }
            }
        }
    }

    async fn info(&self, stream: &str) -> Answer {
        read(self.api(&format!("STREAM.INFO.{stream}"), &json!({})).await, |answer| {
            let state = |name| number(&answer["state"], name);
            Answer::Info(Info {
                created: answer["created"].to_string(),
                leader: None,
                first_seq: state("first_seq"),
                last_seq: state("last_seq"),
                messages: state("messages"),
                bytes: state("bytes"),
            })
        })
    }

    /// Creates a consumer as `bus::reader` does.
    async fn consume(&mut self, stream: &str, filters: &[&str], from: u64) -> Answer {
        let id = self.consumers.len() as u64 + 1;
        let name = format!("case-{id}");
        let body = json!({
            "stream_name": stream,
            "action": "create",
            "config": {
                "name": name,
                "filter_subjects": filters,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": from.max(1),
                "ack_policy": "none",
                "replay_policy": "instant",
                "mem_storage": true,
                "num_replicas": 1,
                "inactive_threshold": NEVER.as_nanos() as u64,
            },
        });
        let answer = self.api(&format!("CONSUMER.CREATE.{stream}.{name}"), &body).await;
        self.consumers.push(name);
        read(answer, |answer| Answer::Consumer { id, pending: number(answer, "num_pending") })
    }

    async fn pull(&self, stream: &str, consumer: u64, max: usize) -> Answer {
        let client = self.connection.client();
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.unwrap();
        let name = &self.consumers[usize::try_from(consumer).unwrap() - 1];
        let body = json!({ "batch": max, "no_wait": true });
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        client.publish_with_reply(subject, inbox, body.to_string().into()).await.unwrap();
        let mut deliveries: Vec<ConsumerDelivery> = Vec::new();
        while deliveries.len() < max {
            let message = tokio::time::timeout(NEVER, answers.next()).await.unwrap().unwrap();
            if message.status.is_some() {
                break;
            }
            // $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
            let reply = message.reply.unwrap();
            let place: Vec<u64> = reply.split('.').skip(4).map(|token| token.parse().unwrap()).collect();
            let [_, seq, consumer_seq, _, pending] = place[..] else { panic!("{reply}") };
            let stored = stored(seq, &message.subject, message.payload);
            deliveries.push(ConsumerDelivery { stored, consumer_seq, pending });
        }
        Answer::Deliveries(deliveries)
    }

    /// Calls the API and returns its raw answer.
    async fn api(&self, call: &str, body: &Value) -> Result<Value, Refusal> {
        let answer = self.connection.request(format!("$JS.API.{call}"), None, body.to_string().into()).await;
        let answer = answer.map_err(|_| Refusal::NO_RESPONDERS)?;
        Ok(serde_json::from_slice(&answer.payload).unwrap())
    }
}

/// Translates an API answer, unless it is an error.
fn read(answer: Result<Value, Refusal>, meaning: impl FnOnce(&Value) -> Answer) -> Answer {
    #[derive(Deserialize)]
    struct Said {
        code: u16,
        err_code: u32,
        description: String,
    }
    let answer = match answer {
        Ok(answer) => answer,
        Err(refusal) => return Answer::Refused(refusal),
    };
    let Some(error) = answer.get("error") else { return meaning(&answer) };
    let Said { code, err_code, description } = Said::deserialize(error).unwrap();
    let last_seq = description.strip_prefix("wrong last sequence: ").and_then(|seq| seq.parse().ok());
    Answer::Refused(Refusal { code, err_code, last_seq })
}

fn number(answer: &Value, name: &str) -> u64 {
    answer[name].as_u64().unwrap_or_default()
}

fn stored(seq: u64, subject: &str, payload: Bytes) -> LogEntry {
    let message = Message::new(subject, payload);
    LogEntry { seq, stored_us: 0, message: Arc::new(message) }
}

fn headers_of(message: &Message) -> HeaderMap {
    let mut headers = HeaderMap::new();
    message.headers.lines().into_iter().for_each(|(name, value)| headers.insert(name, value));
    headers
}
