import assert from "node:assert/strict";
import test from "node:test";

import { candleState, countState, forecastState, modelState, pipelineState, priceState } from "../../crates/reporter/src/web/page/age.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const live = { source: "live" };

test("a price turns amber, then red", () => {
  const ages = [0, 14, 15, 59, 60, 100_000].map((minutes) => priceState(minutes * MINUTE, live));
  assert.deepEqual(ages, ["good", "good", "warn", "warn", "bad", "bad"]);
});

test("a source that polls every five minutes may miss two polls", () => {
  const polled = { source: "live", pollMs: 5 * MINUTE };
  const ages = [14, 15, 49, 50].map((minutes) => priceState(minutes * MINUTE, polled));
  assert.deepEqual(ages, ["good", "warn", "warn", "bad"]);
  // However often it polls, two minutes are no fault.
  assert.equal(priceState(119_000, { source: "live", pollMs: 1000 }), "good");
});

test("an hourly candle is due an hour after the one before", () => {
  const hourly = { source: "live", intervalMs: HOUR };
  assert.equal(candleState(HOUR + 14 * MINUTE, hourly), "good");
  assert.equal(candleState(HOUR + 15 * MINUTE, hourly), "warn");
  assert.equal(candleState(4 * HOUR, hourly), "bad");
});

test("data of a recording do not age", () => {
  for (const source of ["replaying", "finished", "none"]) {
    assert.equal(priceState(1000 * DAY, { source }), "still");
    assert.equal(candleState(1000 * DAY, { source, intervalMs: HOUR }), "still");
    assert.equal(forecastState(1000 * DAY, { source, intervalMs: HOUR }), "still");
    assert.equal(modelState(1000 * DAY, { source, fromMs: 0, untilMs: DAY }), "still");
    assert.equal(countState(1000 * DAY, { source }), "good");
  }
});

test("a silent source does age", () => {
  assert.equal(priceState(DAY, { source: "silent" }), "bad");
});

test("a model is due for renewal at three quarters of its life", () => {
  const of = (days) => modelState(days * DAY, { source: "live", fromMs: 0, untilMs: 4 * DAY });
  assert.deepEqual([0, 2.9, 3, 3.9, 4].map(of), ["good", "good", "warn", "warn", "bad"]);
});

test("a forecast is overdue when its target is past by an interval and more", () => {
  const of = (ms) => forecastState(ms, { source: "live", intervalMs: HOUR });
  assert.deepEqual([-HOUR, HOUR, HOUR + 15 * MINUTE, 4 * HOUR].map(of), ["good", "good", "warn", "bad"]);
});

test("a reporter that says nothing for a minute is suspect", () => {
  assert.deepEqual([59_000, 60_000, 5 * MINUTE].map(pipelineState), ["good", "warn", "bad"]);
});
