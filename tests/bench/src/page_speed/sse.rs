//! A client of the page's live events, over a plain connection.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The path of the events of all instruments.
pub(super) const EVENTS: &str = "/api/v1/events";

/// A connection that receives events.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
}

/// An event with an id. Events without one are sent anew after a reconnect, so none of them has to arrive.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) kind: Kind,
    /// The id as sent.
    pub(super) id: String,
    /// The sum of the sequences in the id, which rises with every event.
    pub(super) place: u64,
    pub(super) at: Instant,
}

/// Kind of an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// The state up to here: a client begins with one.
    Snapshot,
    /// A price.
    Price(PriceSeen),
    /// Any other kind with an id.
    Other,
}

/// The decoded part of a price.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct PriceSeen {
    /// Sequence in MARKET.
    pub(super) seq: u64,
    pub(super) event_ms: i64,
}

impl Client {
    /// Connects and asks for the events after an id, or from now on.
    ///
    /// # Errors
    /// The page refuses.
    pub(super) async fn open(addr: &str, after: Option<&str>) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(request(addr, after).as_bytes()).await?;
        let mut client = Self { stream: BufReader::new(stream) };
        let status = client.line().await?;
        ensure!(status.contains(" 200 "), "the page refuses to send events: {status}");
        while !client.line().await?.is_empty() {}
        Ok(client)
    }

    /// The next event with an id.
    ///
    /// # Errors
    /// The connection has ended, or an event has another form.
    pub(super) async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            let (mut id, mut name, mut data) = (None, String::new(), String::new());
            loop {
                let line = self.line().await?;
                let Some((field, value)) = line.split_once(':') else { break };
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "id" => id = Some(value.to_owned()),
                    "event" => value.clone_into(&mut name),
                    "data" => data.push_str(value),
                    // A comment, which keeps the connection open.
                    _ => {}
                }
            }
            if let Some(id) = id {
                let at = Instant::now();
                return Ok(Event { kind: Kind::of(&name, &data)?, place: place(&id)?, id, at });
            }
        }
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            bail!("the page has closed the connection");
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Kind {
    fn of(name: &str, data: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "snapshot" => Self::Snapshot,
            "price" => {
                Self::Price(serde_json::from_str(data).with_context(|| format!("a price without form: {data}"))?)
            }
            _ => Self::Other,
        })
    }
}

/// The request of a client. HTTP 1.0, so that the events come as they are, without chunks.
pub(super) fn request(addr: &str, after: Option<&str>) -> String {
    let after = after.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    format!("GET {EVENTS} HTTP/1.0\r\nHost: {addr}\r\nAccept: text/event-stream\r\n{after}\r\n")
}

/// The sum of the sequences of an id such as `812-344-20`.
fn place(id: &str) -> anyhow::Result<u64> {
    id.split('-')
        .map(|part| part.parse::<u64>())
        .sum::<Result<u64, _>>()
        .with_context(|| format!("an id without form: {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_place_and_a_price_its_sequence() {
        assert_eq!(place("812-344-20").expect("an id"), 1_176);
        assert!(place("812-x").is_err());
        let price = Kind::of("price", r#"{"coin":"a","seq":7,"event_ms":3,"close":1.5}"#).expect("a price");
        assert_eq!(price, Kind::Price(PriceSeen { seq: 7, event_ms: 3 }));
        assert!(Kind::of("price", "{}").is_err());
        assert_eq!(Kind::of("candle", "{}").expect("a candle"), Kind::Other);
    }
}
