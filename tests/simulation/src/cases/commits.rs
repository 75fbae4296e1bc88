//! Cases of stored commits.

use super::case::{Case, market};
use super::requests::{commit, info, last, next, picture, position, publish, result, state};

pub(super) fn cases() -> Vec<Case> {
    [positions(), batches(), results()].into_iter().flatten().collect()
}

fn positions() -> Vec<Case> {
    vec![
        market(
            "the first position expects nothing, the next one the first",
            vec![
                (last("MARKET", "checkpoint.market.3.position"), "nothing"),
                (info("MARKET"), "0 messages from 0 to 0, 0 bytes"),
                (commit("a", vec![result("r1"), state("bitcoin", "s1"), position(3, 0, "p1")]), "committed 3 to 3"),
                (last("MARKET", "checkpoint.market.3.position"), "3 checkpoint.market.3.position p1"),
                (commit("b", vec![result("r2"), state("bitcoin", "s2"), position(3, 3, "p2")]), "committed 3 to 6"),
                (last("MARKET", "checkpoint.market.3.position"), "6 checkpoint.market.3.position p2"),
                (
                    picture("MARKET", "checkpoint.market.3.>", 0),
                    "5 checkpoint.market.3.state.bitcoin.usd s2, 6 checkpoint.market.3.position p2",
                ),
                (info("MARKET"), "4 messages from 1 to 6, 631 bytes"),
            ],
        ),
        market(
            "a position alone leaves a gap where the one before was",
            vec![
                (commit("a", vec![position(3, 0, "p1")]), "committed 1 to 1"),
                (commit("b", vec![position(3, 1, "p2")]), "committed 1 to 2"),
                (commit("c", vec![position(3, 2, "p3")]), "committed 1 to 3"),
                (next("MARKET", ">", 1), "3 checkpoint.market.3.position p3"),
                (info("MARKET"), "1 messages from 3 to 3, 198 bytes"),
            ],
        ),
        market(
            "several positions in one batch, each with its own expectation",
            vec![
                (commit("a", vec![position(1, 0, "p1")]), "committed 1 to 1"),
                (
                    commit("b", vec![result("r"), position(3, 0, "q1"), result("s"), position(1, 1, "p2")]),
                    "committed 4 to 5",
                ),
                (
                    picture("MARKET", "checkpoint.market.*.position", 0),
                    "3 checkpoint.market.3.position q1, 5 checkpoint.market.1.position p2",
                ),
                (info("MARKET"), "4 messages from 2 to 5, 660 bytes"),
            ],
        ),
    ]
}

fn batches() -> Vec<Case> {
    vec![
        market(
            "a roll-up and a plain message after it leave two",
            vec![
                (
                    commit("a", vec![state("bitcoin", "s1"), state("bitcoin", "s2").plain(), position(3, 0, "p")]),
                    "committed 3 to 3",
                ),
                (next("MARKET", "checkpoint.market.3.state.>", 1), "1 checkpoint.market.3.state.bitcoin.usd s1"),
                (next("MARKET", "checkpoint.market.3.state.>", 2), "2 checkpoint.market.3.state.bitcoin.usd s2"),
                (commit("b", vec![state("bitcoin", "s3")]), "committed 1 to 4"),
                (next("MARKET", "checkpoint.market.3.state.>", 1), "4 checkpoint.market.3.state.bitcoin.usd s3"),
                (info("MARKET"), "2 messages from 3 to 4, 364 bytes"),
            ],
        ),
        market(
            "plain messages on one subject all stay",
            vec![
                (commit("a", vec![result("r1"), result("r2"), result("r3")]), "committed 3 to 3"),
                (info("MARKET"), "3 messages from 1 to 3, 454 bytes"),
                (last("MARKET", "market.3.price.bitcoin.usd"), "3 market.3.price.bitcoin.usd r3"),
            ],
        ),
        market(
            "a thousand messages are a batch",
            vec![
                (
                    commit("a", vec![result("r"); 999].into_iter().chain([position(3, 0, "p")]).collect()),
                    "committed 1000 to 1000",
                ),
                (info("MARKET"), "1000 messages from 1 to 1000, 144947 bytes"),
            ],
        ),
        market(
            "the id of a batch that is stored may be used again",
            vec![
                (commit("a", vec![result("r1"), position(3, 0, "p1")]), "committed 2 to 2"),
                (commit("a", vec![result("r2"), position(3, 2, "p2")]), "committed 2 to 4"),
                (info("MARKET"), "3 messages from 1 to 4, 486 bytes"),
            ],
        ),
        market(
            "an id of 64 characters is short enough",
            vec![(commit(&"x".repeat(64), vec![result("r1"), result("r2")]), "committed 2 to 2")],
        ),
    ]
}

fn results() -> Vec<Case> {
    vec![
        Case {
            live: &[
                "live.price.bitcoin.usd 1 after 0 r1",
                "live.price.bitcoin.usd 3 after 1 r2",
                "live.price.bitcoin.usd 5 after 3 r3",
            ],
            ..market(
                "results are published again, checkpoints are not, and nothing of what was refused",
                vec![
                    (
                        commit("a", vec![result("r1"), state("bitcoin", "s1"), result("r2"), position(3, 0, "p1")]),
                        "committed 4 to 4",
                    ),
                    (commit("b", vec![result("refused"), position(3, 1, "p2")]), "refused 400/10071, last is 4"),
                    (commit("c", vec![result("r3"), position(3, 4, "p2")]), "committed 2 to 6"),
                ],
            )
        },
        market(
            "a message by itself takes expectation and roll-up too",
            vec![
                (publish(position(3, 0, "p1")), "stored 1"),
                (publish(position(3, 0, "p2")), "refused 400/10071, last is 1"),
                (publish(position(3, 1, "p2")), "stored 2"),
                (publish(result("r")), "stored 3"),
                (info("MARKET"), "2 messages from 2 to 3, 235 bytes"),
            ],
        ),
    ]
}
