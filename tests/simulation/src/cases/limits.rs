//! Cases of full streams, purges and deletions.

use super::case::{AMPLE, Case, market};
use super::requests::{commit, consume, delete, info, last, next, picture, position, publish, purge, result, state};
use crate::Request;
use crate::jetstream::StreamConfig;

/// Twenty letters.
const TEXT: &str = "abcdefghijklmnopqrst";

/// A case of MARKET with a size limit in bytes.
fn small(name: &'static str, max_bytes: u64, steps: Vec<(Request, &'static str)>) -> Case {
    Case { streams: vec![StreamConfig::market(max_bytes)], ..market(name, steps) }
}

pub(super) fn cases() -> Vec<Case> {
    [full(), purged(), deleted()].into_iter().flatten().collect()
}

fn full() -> Vec<Case> {
    // The sizes of a result: alone, and as the first of a batch with the id "a".
    let (alone, first) = (result(TEXT).size(), result(TEXT).numbered("a", 1, false).size());
    let last = result(TEXT).numbered("a", 2, true).size();
    let two = || commit("a", vec![result(TEXT), result(TEXT)]);
    vec![
        small(
            "a batch that fits to the byte",
            first + last,
            vec![(two(), "committed 2 to 2"), (info("MARKET"), "2 messages from 1 to 2, 346 bytes")],
        ),
        small(
            "a batch that is a byte too large",
            first + last - 1,
            vec![(two(), "refused 503/10077"), (info("MARKET"), "0 messages from 0 to 0, 0 bytes")],
        ),
        small(
            "a message that fits to the byte, and the next one",
            alone,
            vec![
                (publish(result(TEXT)), "stored 1"),
                (publish(result(TEXT)), "refused 503/10077"),
                (info("MARKET"), "1 messages from 1 to 1, 120 bytes"),
            ],
        ),
        small(
            "a message that is a byte too large",
            alone - 1,
            vec![(publish(result(TEXT)), "refused 503/10077"), (info("MARKET"), "0 messages from 0 to 0, 0 bytes")],
        ),
        small(
            "a replaced state counts until its batch is stored",
            500,
            vec![
                (commit("a", vec![state("bitcoin", TEXT), position(3, 0, "p1")]), "committed 2 to 2"),
                (info("MARKET"), "2 messages from 1 to 2, 361 bytes"),
                (commit("b", vec![state("bitcoin", TEXT), position(3, 2, "p2")]), "refused 503/10077"),
                (commit("c", vec![position(3, 2, "p2")]), "refused 503/10077"),
                (info("MARKET"), "2 messages from 1 to 2, 361 bytes"),
            ],
        ),
        small(
            "a full stream takes a batch again when there is room",
            700,
            vec![
                (two(), "committed 2 to 2"),
                (two(), "committed 2 to 4"),
                (two(), "refused 503/10077"),
                (two(), "refused 503/10077"),
                (purge("MARKET", "market.>", 3), "purged 2"),
                (two(), "committed 2 to 6"),
                (info("MARKET"), "4 messages from 3 to 6, 692 bytes"),
            ],
        ),
    ]
}

/// Results at 1, 4, 5 and 8, checkpoints at 6 and 7; all other sequences were replaced.
fn with(more: Vec<(Request, &'static str)>) -> Vec<(Request, &'static str)> {
    let commits = vec![
        (commit("a", vec![result("r1"), state("bitcoin", "s1"), position(3, 0, "p1")]), "committed 3 to 3"),
        (
            commit("b", vec![result("r4"), result("r5"), state("bitcoin", "s2"), position(3, 3, "p2")]),
            "committed 4 to 7",
        ),
        (commit("c", vec![result("r8")]), "committed 1 to 8"),
    ];
    commits.into_iter().chain(more).collect()
}

fn purged() -> Vec<Case> {
    vec![
        market(
            "trimming results keeps checkpoints",
            with(vec![
                (purge("MARKET", "market.*.*.*.*", 5), "purged 2"),
                (info("MARKET"), "4 messages from 5 to 8, 653 bytes"),
                (purge("MARKET", "market.*.*.*.*", 5), "purged 0"),
                (
                    picture("MARKET", ">", 0),
                    "6 checkpoint.market.3.state.bitcoin.usd s2, 7 checkpoint.market.3.position p2, 8 market.3.price.bitcoin.usd r8",
                ),
                (purge("MARKET", "market.*.*.*.*", 100), "purged 2"),
                (info("MARKET"), "2 messages from 6 to 8, 343 bytes"),
                (last("MARKET", "checkpoint.market.3.position"), "7 checkpoint.market.3.position p2"),
                (commit("d", vec![result("r9"), position(3, 7, "p3")]), "committed 2 to 10"),
            ]),
        ),
        market(
            "an emptied stream continues its sequences",
            with(vec![
                (purge("MARKET", ">", 0), "purged 6"),
                (info("MARKET"), "0 messages from 9 to 8, 0 bytes"),
                (last("MARKET", ">"), "nothing"),
                (commit("d", vec![result("r9"), position(3, 7, "p3")]), "refused 400/10071, last is 0"),
                (commit("e", vec![result("r9"), position(3, 0, "p3")]), "committed 2 to 10"),
                (info("MARKET"), "2 messages from 9 to 10, 342 bytes"),
            ]),
        ),
    ]
}

fn deleted() -> Vec<Case> {
    vec![
        market(
            "one message is deleted, and not twice",
            with(vec![
                (delete("MARKET", 4), "deleted"),
                (delete("MARKET", 4), "refused 400/10043"),
                (delete("MARKET", 3), "refused 400/10043"),
                (delete("MARKET", 9), "refused 500/10057"),
                (next("MARKET", "market.>", 2), "5 market.3.price.bitcoin.usd r5"),
                (info("MARKET"), "5 messages from 1 to 8, 797 bytes"),
                (delete("MARKET", 1), "deleted"),
                (info("MARKET"), "4 messages from 5 to 8, 653 bytes"),
                (delete("MARKET", 8), "deleted"),
                (info("MARKET"), "3 messages from 5 to 8, 487 bytes"),
                (commit("d", vec![result("r9")]), "committed 1 to 9"),
            ]),
        ),
        market(
            "the last message of all is not looked for when it is gone",
            with(vec![
                (last("MARKET", ">"), "8 market.3.price.bitcoin.usd r8"),
                (delete("MARKET", 8), "deleted"),
                (last("MARKET", ">"), "nothing"),
                (last("MARKET", "market.>"), "5 market.3.price.bitcoin.usd r5"),
                (
                    picture("MARKET", ">", 0),
                    "5 market.3.price.bitcoin.usd r5, 6 checkpoint.market.3.state.bitcoin.usd s2, 7 checkpoint.market.3.position p2",
                ),
                (consume("MARKET", &[">"], 8), "0 pending"),
            ]),
        ),
        market(
            "a deleted position counts as never written",
            with(vec![
                (delete("MARKET", 7), "deleted"),
                (commit("d", vec![position(3, 7, "p3")]), "refused 400/10071, last is 0"),
                (commit("e", vec![position(3, 0, "p3")]), "committed 1 to 9"),
                (last("MARKET", "checkpoint.market.3.position"), "9 checkpoint.market.3.position p3"),
            ]),
        ),
        Case {
            streams: vec![StreamConfig::market(AMPLE), StreamConfig::leases(AMPLE)],
            ..market(
                "a stream that does not exist",
                vec![(info("STATS"), "refused 404/10059"), (info("KV_LEASES"), "0 messages from 0 to 0, 0 bytes")],
            )
        },
    ]
}
