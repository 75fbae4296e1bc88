//! Cases of reads over gaps.

use super::case::{Case, market};
use super::requests::{commit, consume, delete, last, next, picture, position, pull, purge, result, state};
use crate::Request;
use crate::jetstream::Message;

const RESULTS: &str = "market.*.*.*.*";

/// Results at 1, 4, 5, 8 and 9, checkpoints at 6, 7, 10 and 11; all other sequences were replaced.
fn filled(more: Vec<(Request, &'static str)>) -> Vec<(Request, &'static str)> {
    let other = |text| Message::new("market.3.candle-1m.ether.usd", text);
    let commits = vec![
        (commit("a", vec![result("r1"), state("bitcoin", "s1"), position(3, 0, "p1")]), "committed 3 to 3"),
        (
            commit("b", vec![result("r4"), other("c5"), state("bitcoin", "s2"), position(3, 3, "p2")]),
            "committed 4 to 7",
        ),
        (commit("c", vec![other("c8"), result("r9"), state("ether", "s3"), position(4, 0, "p3")]), "committed 4 to 11"),
    ];
    commits.into_iter().chain(more).collect()
}

pub(super) fn cases() -> Vec<Case> {
    [pictures(), consumers(), removals()].into_iter().flatten().collect()
}

fn pictures() -> Vec<Case> {
    vec![
        market(
            "the last message of each subject after roll-ups, as of a sequence",
            filled(vec![
                (
                    picture("MARKET", ">", 0),
                    "6 checkpoint.market.3.state.bitcoin.usd s2, 7 checkpoint.market.3.position p2, 8 market.3.candle-1m.ether.usd c8, 9 market.3.price.bitcoin.usd r9, 10 checkpoint.market.3.state.ether.usd s3, 11 checkpoint.market.4.position p3",
                ),
                (
                    picture("MARKET", "checkpoint.market.3.>", 0),
                    "6 checkpoint.market.3.state.bitcoin.usd s2, 7 checkpoint.market.3.position p2, 10 checkpoint.market.3.state.ether.usd s3",
                ),
                (
                    picture("MARKET", "market.3.*.*.*", 8),
                    "4 market.3.price.bitcoin.usd r4, 8 market.3.candle-1m.ether.usd c8",
                ),
                (picture("MARKET", "market.3.*.*.*", 3), "1 market.3.price.bitcoin.usd r1"),
                (picture("MARKET", "checkpoint.>", 5), "nothing"),
                (
                    picture("MARKET", "market.3.*.*.*", 11),
                    "8 market.3.candle-1m.ether.usd c8, 9 market.3.price.bitcoin.usd r9",
                ),
                (picture("MARKET", "market.3.*.*.*", 12), "nothing"),
                (picture("MARKET", ">", 12), "nothing"),
                (picture("MARKET", "market.3.price.bitcoin.usd", 500), "nothing"),
                (picture("MARKET", "market.4.*.*.*", 0), "nothing"),
            ]),
        ),
        market(
            "the next message over gaps",
            filled(vec![
                (next("MARKET", ">", 2), "4 market.3.price.bitcoin.usd r4"),
                (next("MARKET", RESULTS, 6), "8 market.3.candle-1m.ether.usd c8"),
                (next("MARKET", "market.3.candle-1m.ether.usd", 1), "5 market.3.candle-1m.ether.usd c5"),
                (next("MARKET", "market.3.candle-1m.ether.usd", 9), "nothing"),
                (next("MARKET", RESULTS, 10), "nothing"),
                (next("MARKET", ">", 100), "nothing"),
                (last("MARKET", RESULTS), "9 market.3.price.bitcoin.usd r9"),
                (last("MARKET", "checkpoint.market.*.position"), "11 checkpoint.market.4.position p3"),
            ]),
        ),
    ]
}

fn consumers() -> Vec<Case> {
    vec![
        market(
            "a consumer from a sequence counts what is pending over gaps",
            filled(vec![
                (consume("MARKET", &[RESULTS], 2), "4 pending"),
                (
                    pull("MARKET", 1, 2),
                    "4 market.3.price.bitcoin.usd r4 (number 1, 3 pending), 5 market.3.candle-1m.ether.usd c5 (number 2, 2 pending)",
                ),
                (
                    pull("MARKET", 1, 10),
                    "8 market.3.candle-1m.ether.usd c8 (number 3, 1 pending), 9 market.3.price.bitcoin.usd r9 (number 4, 0 pending)",
                ),
                (commit("d", vec![result("r12"), position(3, 7, "p4")]), "committed 2 to 13"),
                (pull("MARKET", 1, 10), "12 market.3.price.bitcoin.usd r12 (number 5, 0 pending)"),
                (pull("MARKET", 1, 10), "nothing"),
            ]),
        ),
        market(
            "a consumer of several filters reads them in stream order",
            filled(vec![
                (consume("MARKET", &["market.3.candle-1m.*.*", "checkpoint.market.*.position"], 1), "4 pending"),
                (
                    pull("MARKET", 1, 10),
                    "5 market.3.candle-1m.ether.usd c5 (number 1, 3 pending), 7 checkpoint.market.3.position p2 (number 2, 2 pending), 8 market.3.candle-1m.ether.usd c8 (number 3, 1 pending), 11 checkpoint.market.4.position p3 (number 4, 0 pending)",
                ),
            ]),
        ),
        market(
            "a consumer behind the end waits there",
            filled(vec![
                (consume("MARKET", &[RESULTS], 13), "0 pending"),
                (pull("MARKET", 1, 10), "nothing"),
                (commit("d", vec![result("r12")]), "committed 1 to 12"),
                (commit("e", vec![result("r13")]), "committed 1 to 13"),
                (pull("MARKET", 1, 10), "13 market.3.price.bitcoin.usd r13 (number 1, 1 pending)"),
            ]),
        ),
    ]
}

fn removals() -> Vec<Case> {
    vec![
        market(
            "a consumer jumps silently over what was purged",
            filled(vec![
                (consume("MARKET", &[RESULTS], 1), "5 pending"),
                (pull("MARKET", 1, 1), "1 market.3.price.bitcoin.usd r1 (number 1, 4 pending)"),
                (purge("MARKET", RESULTS, 9), "purged 4"),
                (pull("MARKET", 1, 10), "9 market.3.price.bitcoin.usd r9 (number 2, 0 pending)"),
                (consume("MARKET", &[RESULTS], 1), "1 pending"),
                (consume("MARKET", &["market.9.*.*.*"], 1), "0 pending"),
                (pull("MARKET", 3, 10), "nothing"),
            ]),
        ),
        market(
            "a message is deleted before a consumer reads it",
            filled(vec![
                (consume("MARKET", &[RESULTS], 1), "5 pending"),
                (consume("MARKET", &["market.3.price.bitcoin.usd"], 1), "3 pending"),
                (consume("MARKET", &["market.*.price.bitcoin.usd"], 1), "3 pending"),
                (pull("MARKET", 1, 1), "1 market.3.price.bitcoin.usd r1 (number 1, 4 pending)"),
                (delete("MARKET", 4), "deleted"),
                (pull("MARKET", 1, 1), "5 market.3.candle-1m.ether.usd c5 (number 2, 2 pending)"),
                (pull("MARKET", 2, 1), "1 market.3.price.bitcoin.usd r1 (number 1, 1 pending)"),
                (pull("MARKET", 3, 1), "1 market.3.price.bitcoin.usd r1 (number 1, 1 pending)"),
                (delete("MARKET", 9), "deleted"),
                (pull("MARKET", 1, 9), "8 market.3.candle-1m.ether.usd c8 (number 3, 0 pending)"),
                (pull("MARKET", 2, 9), "nothing"),
                (pull("MARKET", 3, 9), "nothing"),
            ]),
        ),
        market(
            "a consumer of an empty stream",
            vec![
                (consume("MARKET", &[RESULTS], 1), "0 pending"),
                (pull("MARKET", 1, 10), "nothing"),
                (commit("a", vec![result("r1"), result("r2")]), "committed 2 to 2"),
                (
                    pull("MARKET", 1, 10),
                    "1 market.3.price.bitcoin.usd r1 (number 1, 1 pending), 2 market.3.price.bitcoin.usd r2 (number 2, 0 pending)",
                ),
            ],
        ),
    ]
}
