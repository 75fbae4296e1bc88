import assert from "node:assert/strict";
import test from "node:test";

import { barsOf, gapsOf, isThin, placeOf, slotMs, slotOf, stepFor, stepsOf, windowOf } from "../../crates/reporter/src/web/page/slots.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const START = Date.UTC(2026, 0, 5);

function row(index, more = {}) {
  const start_ms = START + index * MINUTE;
  const close = 100 + index;
  return { start_ms, end_ms: start_ms + MINUTE, open: close - 1, high: close + 2, low: close - 2, close, average: close, volume: 1, count: 3, filled: 0, coverage: 1, revision: 1, final: true, ...more };
}

test("times have their places, and days begin on days", () => {
  for (const step of stepsOf(DAY)) assert.equal(slotMs(slotOf(START, step), step) % DAY, 0);
  assert.equal(new Date(slotMs(slotOf(START, 7 * DAY), 7 * DAY)).getUTCDay(), 1);
  assert.equal(placeOf(START + 90_000, MINUTE) - placeOf(START, MINUTE), 1.5);
});

test("steps are multiples of the interval", () => {
  for (const interval of [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, DAY]) {
    const steps = stepsOf(interval);
    assert.equal(steps[0], interval);
    assert.ok(steps.every((step, index) => step % interval === 0 && (index === 0 || step > steps[index - 1])));
  }
});

test("bars stay wide enough, and the step does not go back and forth", () => {
  assert.equal(stepFor(MINUTE, 2 / MINUTE, MINUTE), MINUTE);
  assert.equal(stepFor(MINUTE, 1.9 / MINUTE, MINUTE), 2 * MINUTE);
  assert.equal(stepFor(MINUTE, 2.1 / MINUTE, 2 * MINUTE), 2 * MINUTE);
  assert.equal(stepFor(MINUTE, 2.7 / MINUTE, 2 * MINUTE), MINUTE);
  // 100,000 minutes in 1,000 pixels.
  const step = stepFor(MINUTE, 0.01 / MINUTE, MINUTE);
  assert.ok((step / MINUTE) * 0.01 >= 2, String(step));
  assert.equal(stepFor(MINUTE, 1e-9 / MINUTE, MINUTE), stepsOf(MINUTE).at(-1));
});

test("merged bars have all that their candles have", () => {
  const rows = [row(0), row(1, { filled: 2, coverage: 0.5 }), row(3, { volume: undefined }), row(5)];
  const first = slotOf(START, 5 * MINUTE);
  const [bar, open] = barsOf(rows, MINUTE, 5 * MINUTE, first, first + 2);
  assert.deepEqual([bar.open, bar.high, bar.low, bar.close], [99, 105, 98, 103]);
  assert.deepEqual([bar.volume, bar.isPartial, bar.count, bar.filled, bar.candles], [2, true, 9, 2, 3]);
  assert.ok(Math.abs(bar.coverage - 0.5) < 1e-12 && isThin(bar));
  assert.equal(open.final, false, "of the newest slot, candles may still come");
});

test("bars of single candles are the candles", () => {
  const rows = [row(0), row(1), row(2, { final: false, coverage: 0.2 })];
  const bars = barsOf(rows, MINUTE, MINUTE, slotOf(START, MINUTE) + 1, slotOf(START, MINUTE) + 9);
  assert.deepEqual(bars.map((bar) => bar.close), [101, 102]);
  assert.deepEqual(bars.map(isThin), [false, false], "an open candle is not thin");
});

test("missing candles are gaps, unless candles are usually that far apart", () => {
  const of = (indexes) => gapsOf(indexes.map((index) => row(index)), MINUTE, START, START + DAY);
  const span = (from, to) => [START + from * MINUTE, START + to * MINUTE];
  assert.deepEqual(of([0, 1, 2, 5, 6, 8]), [span(3, 5), span(7, 8)]);
  assert.deepEqual(of([0, 5, 10, 15, 20, 60, 65]), [span(21, 60)]);
  assert.deepEqual(of([]), []);
});

test("a gap is found from within it", () => {
  const rows = [row(0), row(1), row(600), row(601)];
  const [gap] = gapsOf(rows, MINUTE, START + 100 * MINUTE, START + 200 * MINUTE);
  assert.deepEqual(gap, [START + 2 * MINUTE, START + 600 * MINUTE]);
});

test("the chart holds slots around the view, and no more than there are", () => {
  const extent = { oldest: START, newest: START + 10_000 * MINUTE, ahead: 0 };
  const view = { from: START + 5000 * MINUTE, to: START + 5300 * MINUTE };
  const { first, end } = windowOf(view, MINUTE, extent);
  assert.equal(first, slotOf(view.from, MINUTE) - 375);
  assert.equal(end, slotOf(view.to, MINUTE) + 376);
  const all = windowOf({ from: START - DAY, to: START + 30 * DAY }, MINUTE, extent);
  assert.equal(all.first, slotOf(START, MINUTE));
  assert.ok(all.end > slotOf(extent.newest, MINUTE) && all.end < slotOf(extent.newest, MINUTE) + 200);
});
