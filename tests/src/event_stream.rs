//! A client of the page's live events, over a plain connection.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::programs::NEVER;

/// A connection that receives events.
#[derive(Debug)]
pub struct EventStream {
    lines: BufReader<TcpStream>,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name, such as `price`.
    pub name: String,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// Its data.
    pub data: Value,
}

impl EventStream {
    /// Connects, with a query such as `?coin=bitcoin&quote=usd`, and asks for what follows an id, if there is one.
    pub async fn open(addr: &str, query: &str, last_id: Option<&str>) -> Self {
        Self::try_open(addr, query, last_id).await.expect("the page sends events")
    }

    /// As [`Self::open`]; the answer if the page refuses.
    ///
    /// # Errors
    /// Status line, head and body of the refusal.
    pub async fn try_open(addr: &str, query: &str, last_id: Option<&str>) -> Result<Self, String> {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let last_id = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        // HTTP 1.0, so that the events come without chunks.
        let request = format!("GET /api/v1/events{query} HTTP/1.0\r\nHost: {addr}\r\n{last_id}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut events = Self { lines: BufReader::new(stream) };
        let status = events.line().await.unwrap_or_default();
        if !status.contains(" 200 ") {
            // The body may end without a line break.
            let mut rest = String::new();
            timeout(NEVER, events.lines.read_to_string(&mut rest)).await.expect("the answer ends").unwrap();
            return Err(format!("{status}\n{rest}"));
        }
        while events.line().await.is_some_and(|line| !line.is_empty()) {}
        Ok(events)
    }

    /// Returns the next event; `None` at the end of the stream.
    ///
    /// # Panics
    /// None comes for long.
    pub async fn next(&mut self) -> Option<Event> {
        timeout(NEVER, self.read()).await.expect("an event comes")
    }

    /// Returns the next event of this name.
    ///
    /// # Panics
    /// The stream ends before.
    pub async fn next_named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.name == name {
                return event;
            }
        }
    }

    async fn read(&mut self) -> Option<Event> {
        let (mut name, mut id, mut data) = (String::new(), None, String::new());
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("data", value)) => value.clone_into(&mut data),
                // An event without data is no event: a comment, or the time before a reconnect.
                _ if line.is_empty() && !data.is_empty() => {
                    return Some(Event { name, id, data: serde_json::from_str(&data).unwrap() });
                }
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        // A reset is an end too.
        let read = self.lines.read_line(&mut line).await.unwrap_or_default();
        (read > 0 && line.ends_with('\n')).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    }
}
