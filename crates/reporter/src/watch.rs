//! `reporter watch`: prints live messages as they are committed, one line per record.

mod gaps;
mod text;

use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bus::{Connection, NatsArgs, RecordKind, query, subject, topology};
use futures::StreamExt;
use gaps::Gaps;
use service::{Code, Health, Shutdown, WithCode};

use crate::output::{self, Printed};

/// Prints live messages, one line each; needs no password.
#[derive(Debug, Clone, clap::Args)]
pub struct WatchArgs {
    /// Subject to watch, such as live.price.bitcoin.usdt or live.stats.1h.>
    #[arg(default_value = "live.price.>", env = "CANDLEWIRE_WATCH")]
    pub subject: String,

    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    pub format: WatchFormat,

    /// Number of partitions of the streams, as `topology apply` made them; needed to find the last known value
    #[arg(long, env = "CANDLEWIRE_PARTITIONS", default_value_t = topology::Limits::default().partitions, value_name = "P",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(topology::PARTITIONS_MAX)))]
    pub partitions: u32,
}

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum WatchFormat {
    /// For people
    Text,
    /// One JSON object per line, as stored
    Json,
}

/// Time without a message after which the user is told why none may come.
const SILENCE: Duration = Duration::from_secs(2);

/// Prints live messages until shutdown, or until the output has no reader. Waits while the server is unreachable.
///
/// # Errors
/// Exit code 2 if the subject cannot be watched; otherwise the server refuses.
pub async fn run(args: &WatchArgs, nats: &NatsArgs, shutdown: &Shutdown) -> anyhow::Result<()> {
    check_subject(&args.subject).exit_code(Code::BadConfig)?;
    let Some(connection) = Connection::wait(nats, None, &Health::new(), shutdown).await? else { return Ok(()) };
    // The subscription starts before the last value is read, so that no message between the two is missed.
    let mut messages = connection.client().subscribe(args.subject.clone()).await?;
    connection.client().flush().await?;
    let mut watcher = Watcher { format: args.format, gaps: Gaps::default() };
    if watcher.last_known(&connection, args).await? == Printed::ReaderGone {
        return Ok(());
    }
    let mut is_first = true;
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = shutdown.requested() => return Ok(()),
            () = tokio::time::sleep(SILENCE), if is_first => {
                is_first = false;
                tracing::info!(
                    "connected and waiting for {}; only what is committed from now on comes here: a recording that has been \
                     processed sends nothing more (`./scripts/run --live`, or a paced replay such as `--speed 60x`, does)",
                    args.subject
                );
                continue;
            }
        };
        is_first = false;
        let Some(message) = message else { anyhow::bail!("the subscription to {} has ended", args.subject) };
        if watcher.live(&message)? == Printed::ReaderGone {
            return Ok(());
        }
    }
}

/// Checks the subject. All users may subscribe to `live.>` and nothing else, and the server would refuse silently.
fn check_subject(watched: &str) -> anyhow::Result<()> {
    let tokens: Vec<&str> = watched.split('.').collect();
    let is_token =
        |token: &&str| !token.is_empty() && !token.contains(char::is_whitespace) && !token.contains(char::is_control);
    let tail = tokens.iter().position(|&token| token == ">");
    if !tokens.iter().all(is_token) || tail.is_some_and(|idx| idx + 1 != tokens.len()) {
        anyhow::bail!(
            "{watched:?} is not a subject: tokens between dots, * for any one, > at the end for all that follow"
        );
    }
    if !watched.starts_with(subject::LIVE) {
        anyhow::bail!(
            "{watched:?} cannot be watched: live messages begin with {}, such as live.price.>",
            subject::LIVE
        );
    }
    Ok(())
}

struct Watcher {
    format: WatchFormat,
    gaps: Gaps,
}

impl Watcher {
    /// Prints the last known value, if the subject names a single one, and marks it as such.
    async fn last_known(&mut self, connection: &Connection, args: &WatchArgs) -> anyhow::Result<Printed> {
        let Some((stream, stored)) = subject::stored_of_live(&args.subject, args.partitions) else {
            return Ok(Printed::Yes);
        };
        let message = match query::newest(connection, stream, &stored).await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(Printed::Yes),
            Err(error) => {
                tracing::warn!(%error, "cannot read the last known value");
                return Ok(Printed::Yes);
            }
        };
        self.gaps.begin(&args.subject, message.seq);
        let lines: Vec<&[u8]> = bus::codec::lines(&message.payload).map(|(_, line)| line).collect();
        // A message may hold hundreds of lines, of which the last is the newest. In a profile all rows are current.
        let is_profile = stored.split('.').nth(2) == Some(RecordKind::HourOfDay.token());
        let newest = if is_profile { &lines[..] } else { &lines[lines.len().saturating_sub(1)..] };
        match self.format {
            WatchFormat::Text => {
                let marked = |line: &&[u8]| format!("last known: {}", text::line(&args.subject, line));
                Ok(output::lines(newest.iter().map(marked))?)
            }
            WatchFormat::Json => {
                tracing::info!(lines = newest.len(), "the first lines are the last known values");
                Ok(output::lines(newest)?)
            }
        }
    }

    /// Prints a live message, after a warning if messages before it are missing.
    fn live(&mut self, message: &Message) -> anyhow::Result<Printed> {
        let headers = message.headers.as_ref();
        let subject = message.subject.as_str();
        if is_stray(message) {
            tracing::warn!("ignored a stored message replayed to {subject}");
            return Ok(Printed::Yes);
        }
        if let Some(seq) = number(headers, "Nats-Sequence") {
            let previous = number(headers, "Nats-Last-Sequence").unwrap_or_default();
            match self.gaps.see(subject, seq, previous) {
                gaps::Seen::Again => return Ok(Printed::Yes),
                gaps::Seen::InOrder => {}
                gaps::Seen::Missed { after } => tracing::warn!(
                    "missed messages on {subject} after sequence {after} up to {previous}: this reader was too slow or was \
                     disconnected; nothing is lost in the stream"
                ),
            }
        }
        let (_, payload) = bus::codec::decode(message.headers.clone(), message.payload.clone());
        let lines = bus::codec::lines(&payload).map(|(_, line)| line);
        Ok(match self.format {
            WatchFormat::Text => output::lines(lines.map(|line| text::line(subject, line)))?,
            WatchFormat::Json => output::lines(lines)?,
        })
    }
}

/// Whether a message is a replayed stored message instead of a live one: the answer to another client's request, or a
/// delivery of a consumer to a live subject. Its subject is the stored one, or it lacks the header with the sequence of
/// its predecessor.
fn is_stray(message: &Message) -> bool {
    let headers = message.headers.as_ref();
    message.status.is_some()
        || !message.subject.starts_with(subject::LIVE)
        || number(headers, "Nats-Sequence").is_some() && number(headers, "Nats-Last-Sequence").is_none()
}

fn number(headers: Option<&HeaderMap>, name: &str) -> Option<u64> {
    headers?.get(name)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_live_subjects_can_be_watched() {
        for good in ["live.>", "live.price.>", "live.price.*.usdt", "live.stats.1h.bitcoin.usdt"] {
            assert!(check_subject(good).is_ok(), "{good}");
        }
        for bad in ["", "live", "live.", "live..x", "live.>.x", "live.a b", "market.>", ">", "*.price.>"] {
            assert!(check_subject(bad).is_err(), "{bad}");
        }
    }
}
