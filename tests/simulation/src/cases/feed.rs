//! Cases of FEED: message ids, partitions, size limits.

use super::case::{AMPLE, Case, FEED_AGE_US, PARTITIONS};
use super::requests::{commit, consume, info, last, next, picture, publish, pull, purge};
use crate::Request;
use crate::jetstream::{Message, StreamConfig};

fn feed(name: &'static str, max_bytes: u64, steps: Vec<(Request, &'static str)>) -> Case {
    Case { name, streams: vec![StreamConfig::feed(PARTITIONS, max_bytes, FEED_AGE_US)], steps, live: &[] }
}

fn tick(coin: &str, id: &str, text: &'static str) -> Message {
    Message::new(&format!("feed.tick.{coin}.usd"), text).schema("tick/1").id(id)
}

pub(super) fn cases() -> Vec<Case> {
    [ids(), limits()].into_iter().flatten().collect()
}

fn limits() -> Vec<Case> {
    let small = tick("bitcoin", "1", "t1");
    let stored = Message { subject: "feed.10.tick.bitcoin.usd".into(), ..small.clone() }.size();
    vec![
        feed(
            "a full feed deletes its oldest",
            3 * stored,
            vec![
                (publish(tick("bitcoin", "1", "t1")), "stored 1"),
                (publish(tick("bitcoin", "2", "t2")), "stored 2"),
                (publish(tick("bitcoin", "3", "t3")), "stored 3"),
                (info("FEED"), "3 messages from 1 to 3, 345 bytes"),
                (consume("FEED", &["feed.*.tick.*.*"], 1), "3 pending"),
                (pull("FEED", 1, 1), "1 feed.15.tick.bitcoin.usd t1 (number 1, 2 pending)"),
                (publish(tick("bitcoin", "4", "t4")), "stored 4"),
                (publish(tick("bitcoin", "5", "t5")), "stored 5"),
                (info("FEED"), "3 messages from 3 to 5, 345 bytes"),
                (
                    pull("FEED", 1, 10),
                    "3 feed.15.tick.bitcoin.usd t3 (number 2, 2 pending), 4 feed.15.tick.bitcoin.usd t4 (number 3, 1 pending), 5 feed.15.tick.bitcoin.usd t5 (number 4, 0 pending)",
                ),
                (next("FEED", ">", 1), "3 feed.15.tick.bitcoin.usd t3"),
                (publish(tick("bitcoin", "1", "t1")), "stored 1 before"),
                (last("FEED", "feed.*.tick.bitcoin.usd"), "5 feed.15.tick.bitcoin.usd t5"),
            ],
        ),
        feed(
            "a feed takes no roll-up",
            AMPLE,
            vec![
                (publish(tick("bitcoin", "1", "t1").rollup()), "refused 500/10111"),
                (commit("a", vec![tick("bitcoin", "2", "t2"), tick("ether", "3", "t3").rollup()]), "refused 500/10111"),
                (info("FEED"), "0 messages from 0 to 0, 0 bytes"),
            ],
        ),
    ]
}

fn ids() -> Vec<Case> {
    vec![
        feed(
            "a message id is stored once, on any subject",
            AMPLE,
            vec![
                (publish(tick("bitcoin", "one", "t1")), "stored 1"),
                (publish(tick("bitcoin", "two", "t2")), "stored 2"),
                (publish(tick("bitcoin", "one", "t1")), "stored 1 before"),
                (publish(tick("ether", "one", "t3")), "stored 1 before"),
                (info("FEED"), "2 messages from 1 to 2, 234 bytes"),
            ],
        ),
        feed(
            "each instrument has its partition",
            AMPLE,
            vec![
                (publish(tick("bitcoin", "1", "t")), "stored 1"),
                (publish(tick("ethereum", "2", "t")), "stored 2"),
                (publish(tick("solana", "3", "t")), "stored 3"),
                (publish(tick("x", "4", "t")), "stored 4"),
                (
                    picture("FEED", "feed.>", 0),
                    "1 feed.15.tick.bitcoin.usd t, 2 feed.0.tick.ethereum.usd t, 3 feed.11.tick.solana.usd t, 4 feed.1.tick.x.usd t",
                ),
            ],
        ),
        feed(
            "a batch with an id that was seen is refused whole",
            AMPLE,
            vec![
                (publish(tick("bitcoin", "one", "t1")), "stored 1"),
                (commit("a", vec![tick("bitcoin", "two", "t2"), tick("bitcoin", "one", "t1")]), "refused 400/10201"),
                (commit("b", vec![tick("bitcoin", "two", "t2"), tick("bitcoin", "three", "t3")]), "committed 2 to 3"),
                (publish(tick("bitcoin", "three", "t3")), "stored 3 before"),
                (info("FEED"), "3 messages from 1 to 3, 459 bytes"),
            ],
        ),
        feed(
            "a message id is remembered though its message was purged",
            AMPLE,
            vec![
                (publish(tick("bitcoin", "one", "t1")), "stored 1"),
                (purge("FEED", ">", 0), "purged 1"),
                (publish(tick("bitcoin", "one", "t1")), "stored 1 before"),
                (info("FEED"), "0 messages from 2 to 1, 0 bytes"),
            ],
        ),
    ]
}
