//! Cases of refused commits.

use super::case::{Case, market};
use super::requests::{commit, commit_numbered, info, next, position, publish, result, state};
use crate::jetstream::Message;

pub(super) fn cases() -> Vec<Case> {
    [expectations(), wrong_in_themselves(), not_taken(), incomplete()].into_iter().flatten().collect()
}

fn expectations() -> Vec<Case> {
    vec![
        market(
            "a stale, zero or future expectation is told the true sequence",
            vec![
                (commit("a", vec![result("r1"), position(3, 0, "p1")]), "committed 2 to 2"),
                (commit("b", vec![result("r2"), position(3, 2, "p2")]), "committed 2 to 4"),
                (
                    commit("c", vec![result("x"), state("bitcoin", "x"), position(3, 2, "x")]),
                    "refused 400/10071, last is 4",
                ),
                (
                    commit("d", vec![result("x"), state("bitcoin", "x"), position(3, 0, "x")]),
                    "refused 400/10071, last is 4",
                ),
                (
                    commit("e", vec![result("x"), state("bitcoin", "x"), position(3, 40, "x")]),
                    "refused 400/10071, last is 4",
                ),
                (info("MARKET"), "3 messages from 1 to 4, 486 bytes"),
            ],
        ),
        market(
            "a future expectation of a subject that was never written",
            vec![
                (commit("a", vec![result("x"), position(3, 7, "x")]), "refused 400/10071, last is 0"),
                (info("MARKET"), "0 messages from 0 to 0, 0 bytes"),
            ],
        ),
        market(
            "of two positions one is stale: nothing is stored",
            vec![
                (commit("a", vec![position(1, 0, "p1"), position(3, 0, "q1")]), "committed 2 to 2"),
                (commit("b", vec![position(1, 1, "p2")]), "committed 1 to 3"),
                (
                    commit("c", vec![result("x"), position(1, 1, "x"), result("x"), position(3, 2, "x")]),
                    "refused 400/10071, last is 3",
                ),
                (
                    commit("d", vec![result("x"), position(3, 2, "q2"), result("x"), position(1, 1, "x")]),
                    "refused 400/10071, last is 3",
                ),
                (info("MARKET"), "2 messages from 2 to 3, 396 bytes"),
            ],
        ),
        market(
            "an expectation on what the batch itself wrote before",
            vec![
                (
                    commit("a", vec![position(3, 0, "p1").plain(), position(3, 1, "p2").without_rollup()]),
                    "refused 400/10164",
                ),
                (commit("b", vec![position(3, 0, "p1"), position(3, 0, "p2").without_rollup()]), "refused 400/10164"),
                (info("MARKET"), "0 messages from 0 to 0, 0 bytes"),
            ],
        ),
    ]
}

fn wrong_in_themselves() -> Vec<Case> {
    vec![
        market(
            "a state twice in a batch, or a roll-up behind a plain message",
            vec![
                (
                    commit("a", vec![state("bitcoin", "s1"), state("bitcoin", "s2"), position(3, 0, "p")]),
                    "refused 500/10111",
                ),
                (
                    commit("b", vec![state("bitcoin", "s1").plain(), state("bitcoin", "s2"), position(3, 0, "p")]),
                    "refused 500/10111",
                ),
                (info("MARKET"), "0 messages from 0 to 0, 0 bytes"),
            ],
        ),
        market(
            "of two faults the first one in the batch is told",
            vec![
                (
                    commit("a", vec![position(3, 9, "x"), state("bitcoin", "s"), state("bitcoin", "s")]),
                    "refused 400/10071, last is 0",
                ),
                (
                    commit("b", vec![state("bitcoin", "s"), state("bitcoin", "s"), position(3, 9, "x")]),
                    "refused 500/10111",
                ),
                (commit("c", vec![position(3, 0, "x"), position(3, 0, "x")]), "refused 400/10164"),
            ],
        ),
        market(
            "1,001 messages are too many",
            vec![
                (commit("a", vec![result("r"); 1_001]), "refused 400/10199"),
                (commit("b", vec![result("r"); 1_002]), "refused 400/10199"),
                (publish(result("r").numbered("a", 1, false)), "staged"),
                (publish(result("r").numbered("b", 1, true)), "committed 1 to 1"),
                (info("MARKET"), "1 messages from 1 to 1, 165 bytes"),
                (publish(result("r").numbered("c", 1_001, false)), "refused 400/10199"),
                (publish(result("r").numbered("d", 1, false)), "staged"),
                (publish(result("r").numbered("d", 1_001, false)), "refused 400/10176"),
                (publish(result("r").numbered("d", 2, true)), "refused 400/10176"),
            ],
        ),
    ]
}

fn not_taken() -> Vec<Case> {
    vec![
        market(
            "an id of 65 characters",
            vec![
                (commit(&"x".repeat(65), vec![result("r1"), result("r2")]), "refused 400/10179"),
                (info("MARKET"), "0 messages from 0 to 0, 0 bytes"),
            ],
        ),
        market(
            "an age without permission, a message id twice or seen before",
            vec![
                (commit("a", vec![result("r"), result("r").ending(60)]), "refused 400/10166"),
                (publish(result("r").ending(60)), "refused 400/10166"),
                (commit("b", vec![result("r").id("one"), result("r").id("one")]), "refused 400/10201"),
                (commit("c", vec![result("r").id("one"), result("r").id("two")]), "committed 2 to 2"),
                (commit("d", vec![result("r"), result("r").id("two")]), "refused 400/10201"),
                (info("MARKET"), "2 messages from 1 to 2, 344 bytes"),
            ],
        ),
        market(
            "a subject that no stream takes",
            vec![
                (publish(Message::new("nowhere.at.all", "x")), "refused 503/0"),
                (commit("a", vec![Message::new("nowhere", "x"), result("r")]), "refused 400/10176"),
            ],
        ),
    ]
}

fn incomplete() -> Vec<Case> {
    let staged = |text, number| publish(result(text).numbered("a", number, false));
    let last = |text, number| publish(result(text).numbered("a", number, true));
    vec![
        market(
            "a message got lost on the way",
            vec![
                (commit_numbered("a", vec![result("r2"), result("r3")], 2..=3), "refused 400/10176"),
                (staged("r1", 1), "staged"),
                (last("r3", 3), "refused 400/10176"),
                (staged("r2", 2), "refused 400/10176"),
                (info("MARKET"), "0 messages from 0 to 0, 0 bytes"),
                (commit("a", vec![result("r1"), result("r2")]), "committed 2 to 2"),
            ],
        ),
        market(
            "a second batch of an id that is open ends both",
            vec![
                (staged("r1", 1), "staged"),
                (staged("r2", 2), "staged"),
                (staged("s1", 1), "refused 400/10176"),
                (last("r3", 3), "refused 400/10176"),
                (last("s2", 2), "refused 400/10176"),
                (info("MARKET"), "0 messages from 0 to 0, 0 bytes"),
            ],
        ),
        market(
            "two senders of an id make a mixture when their numbers fit",
            vec![
                (staged("r1", 1), "staged"),
                (staged("s2", 2), "staged"),
                (last("r3", 3), "committed 3 to 3"),
                (next("MARKET", ">", 2), "2 market.3.price.bitcoin.usd s2"),
            ],
        ),
        market(
            "a batch is judged when it is committed, not when it is sent",
            vec![
                (publish(position(3, 0, "p1").numbered("a", 1, false)), "staged"),
                (publish(position(3, 9, "p1").numbered("b", 1, false)), "staged"),
                (publish(result("x").numbered("b", 2, false)), "staged"),
                (commit("c", vec![position(3, 0, "p2")]), "committed 1 to 1"),
                (last("r", 2), "refused 400/10071, last is 1"),
                (publish(result("x").numbered("b", 3, true)), "refused 400/10071, last is 1"),
                (info("MARKET"), "1 messages from 1 to 1, 198 bytes"),
            ],
        ),
        market(
            "open batches have 64 places",
            (1..=64)
                .map(|idx| (publish(result("r").numbered(&format!("open-{idx}"), 1, false)), "staged"))
                .chain([
                    (publish(result("r").numbered("open-65", 1, false)), "refused 429/10210"),
                    (commit("late", vec![result("r"), result("r")]), "refused 400/10176"),
                    (publish(result("r").numbered("open-1", 2, true)), "committed 2 to 2"),
                    (commit("later", vec![result("r"), result("r")]), "committed 2 to 4"),
                ])
                .collect(),
        ),
    ]
}
