//! Cases of leases: keys with revisions.

use super::case::{AMPLE, Case};
use super::requests::{commit, info, last, picture, publish};
use crate::Request;
use crate::jetstream::{Message, StreamConfig};

fn leases(name: &'static str, steps: Vec<(Request, &'static str)>) -> Case {
    Case { name, streams: vec![StreamConfig::leases(AMPLE)], steps, live: &[] }
}

fn slot(slot: u32, text: &'static str) -> Message {
    Message::new(&format!("$KV.LEASES.aggregator.slot.{slot}"), text)
}

pub(super) fn cases() -> Vec<Case> {
    let slots = "$KV.LEASES.aggregator.>";
    vec![
        leases(
            "a key is created once and updated at its revision",
            vec![
                (publish(slot(1, "me").expecting(0)), "stored 1"),
                (publish(slot(1, "you").expecting(0)), "refused 400/10071, last is 1"),
                (publish(slot(1, "me too").expecting(1)), "stored 2"),
                (publish(slot(1, "you").expecting(1)), "refused 400/10071, last is 2"),
                (publish(slot(1, "you").expecting(9)), "refused 400/10071, last is 2"),
                (publish(slot(2, "you").expecting(2)), "refused 400/10071, last is 0"),
                (picture("KV_LEASES", slots, 0), "2 $KV.LEASES.aggregator.slot.1 me too"),
                (info("KV_LEASES"), "1 messages from 2 to 2, 120 bytes"),
            ],
        ),
        leases(
            "a key that was given back keeps its revision until it is taken again",
            vec![
                (publish(slot(1, "me").expecting(0)), "stored 1"),
                (publish(slot(1, "").deletion().expecting(1)), "stored 2"),
                (publish(slot(1, "you").expecting(0)), "refused 400/10071, last is 2"),
                (publish(slot(1, "you").expecting(2)), "stored 3"),
                (last("KV_LEASES", "$KV.LEASES.aggregator.slot.1"), "3 $KV.LEASES.aggregator.slot.1 you"),
                (info("KV_LEASES"), "1 messages from 3 to 3, 117 bytes"),
            ],
        ),
        leases(
            "a sign of life replaces the one before without a condition",
            vec![
                (publish(Message::new("$KV.LEASES.aggregator.member.a", "1")), "stored 1"),
                (publish(Message::new("$KV.LEASES.aggregator.member.a", "2")), "stored 2"),
                (publish(Message::new("$KV.LEASES.aggregator.member.b", "1")), "stored 3"),
                (
                    publish(Message::new("$KV.LEASES.aggregator.member.a", "").deletion().expecting(2).ending(60)),
                    "stored 4",
                ),
                (
                    picture("KV_LEASES", slots, 0),
                    "3 $KV.LEASES.aggregator.member.b 1, 4 $KV.LEASES.aggregator.member.a ",
                ),
                (info("KV_LEASES"), "2 messages from 3 to 4, 211 bytes"),
            ],
        ),
        leases(
            "a bucket takes no batch",
            vec![
                (commit("a", vec![slot(1, "me"), slot(2, "me")]), "refused 400/10174"),
                (info("KV_LEASES"), "0 messages from 0 to 0, 0 bytes"),
            ],
        ),
    ]
}
