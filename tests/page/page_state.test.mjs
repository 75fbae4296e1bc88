import assert from "node:assert/strict";
import test from "node:test";

import { pageState } from "../../crates/reporter/src/web/page/page_state.js";

const NOON = Date.UTC(2026, 0, 2, 12, 0);
const steps = [{ service: "aggregator", behind: 0 }];
const of = (pipeline, more = {}) =>
  pageState({ stream: "open", pipeline: { connected: true, source: "live", steps, ...pipeline }, instrument: {}, ...more });

test("each state of the source has its words", () => {
  const words = ["live", "replaying", "finished", "silent", "none"].map((source) => of({ source }).words);
  assert.deepEqual(words, ["Live", "Replaying a recording", "Recording finished", "Live source silent", "No data yet"]);
  assert.equal(of({ source: "silent", newest_event_ms: NOON }).words, "Live source silent since 2026-01-02 12:00 UTC");
});

test("a replay is said only while one runs", () => {
  const behind = [{ service: "aggregator", behind: 1234 }];
  assert.equal(of({ source: "replaying", steps: behind }).words, "Replaying a recording");
  assert.equal(of({ source: "finished", steps: behind }).words, "Catching up: 1,234 messages");
});

test("what is away is named with the time of the last known state", () => {
  assert.equal(of({ connected: false }, { awayMs: NOON }).words, "NATS is unreachable · last known state, 12:00 UTC");
  assert.equal(of({ connected: false }, { instrument: undefined }).words, "Waiting for NATS");
  assert.equal(of({}, { stream: "lost", lostMs: NOON }).words, "Reporter does not answer · last known state, 12:00 UTC");
});

test("a reporter that refuses events is there", () => {
  assert.equal(of({}, { stream: "refused", lostMs: NOON }).words, "No live events, trying again · state of 12:00 UTC");
});

test("an unknown instrument is no outage", () => {
  assert.deepEqual(of({}, { isUnknown: "x/usd", stream: "lost" }), { state: "bad", words: "No data of x/usd" });
});

test("before the first answer the page says that it connects", () => {
  assert.equal(pageState({ stream: "connecting", pipeline: null }).words, "Connecting…");
  assert.equal(pageState({ stream: "open", pipeline: null }).words, "Connecting…");
});
