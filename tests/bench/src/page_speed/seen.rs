//! The page's live events as a reader notes them.

use std::time::Instant;

use anyhow::Context;
use pipeline_tests::event_stream::Event;
use serde_json::Value;

/// An event with an id. Events without one are sent anew after a reconnect, so none of them has to arrive.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) kind: Kind,
    /// The id as sent.
    pub(super) id: String,
    /// The last part of the id, which rises with each event.
    pub(super) place: u64,
    pub(super) at: Instant,
}

/// Kind of an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// The state up to here: a reader begins with one.
    Snapshot,
    /// A price.
    Price {
        /// Sequence in MARKET.
        seq: u64,
        /// Event time in milliseconds.
        event_ms: i64,
    },
    /// Any other kind with an id.
    Other,
}

impl Seen {
    /// Notes an event that has come now; `None` without an id.
    ///
    /// # Errors
    /// It has another form.
    pub(super) fn now(event: Event) -> anyhow::Result<Option<Self>> {
        let at = Instant::now();
        let Some(id) = event.id else { return Ok(None) };
        let place = id.rsplit('-').next().and_then(|part| part.parse().ok());
        let place = place.with_context(|| format!("an id without a number: {id}"))?;
        Ok(Some(Self { kind: Kind::of(&event.name, &event.data)?, id, place, at }))
    }
}

impl Kind {
    fn of(name: &str, data: &Value) -> anyhow::Result<Self> {
        Ok(match name {
            "snapshot" => Self::Snapshot,
            "price" => {
                let numbers = data["seq"].as_u64().zip(data["event_ms"].as_i64());
                let (seq, event_ms) = numbers.with_context(|| format!("a price of another form: {data}"))?;
                Self::Price { seq, event_ms }
            }
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_has_its_place_and_a_price_its_sequence() {
        let event =
            |name: &str, id: Option<&str>, data| Event { name: name.to_owned(), id: id.map(str::to_owned), data };
        let price = json!({"coin": "a", "quote": "b", "seq": 7, "event_ms": 3, "close": 1.5});
        let seen = Seen::now(event("price", Some("8-3-0-42"), price.clone())).expect("a price").expect("an id");
        assert_eq!((seen.kind, seen.place), (Kind::Price { seq: 7, event_ms: 3 }, 42));
        assert!(Seen::now(event("open", None, json!({}))).expect("a candle").is_none());
        assert!(Seen::now(event("price", Some("8-3-0-x"), price)).is_err());
        assert!(Seen::now(event("price", Some("8-3-0-42"), json!({}))).is_err());
    }
}
