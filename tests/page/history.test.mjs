import assert from "node:assert/strict";
import test from "node:test";

import { History } from "../../crates/reporter/src/web/page/history.js";

const candle = (index, more = {}) => ({ start_ms: index * 60, end_ms: (index + 1) * 60, revision: 1, final: true, close: index, ...more });
const range = (from, to) => Array.from({ length: to - from }, (_, index) => candle(from + index));
const starts = (history) => history.rows.map((row) => row.start_ms / 60);
const numbers = (from, to) => range(from, to).map((row) => row.start_ms / 60);

// Answers as the reporter does, from candles that may grow meanwhile. A cursor names the candle before which it goes on.
function reporter(candles) {
  return async ({ limit, cursor, to_ms = Infinity }) => {
    const before = candles.filter((row) => row.start_ms < (cursor === undefined ? to_ms : Number(cursor)));
    const page = before.slice(-limit);
    return { candles: page, next: page.length < before.length ? String(page[0].start_ms) : undefined };
  };
}

test("older pages come in order, without hole or double", async () => {
  const history = new History(reporter(range(0, 7000)));
  await history.refresh();
  assert.equal(history.rows.length, 2400);
  while (await history.older());
  assert.deepEqual(starts(history), numbers(0, 7000));
  assert.equal(history.isComplete, true);
});

test("one older page is read at a time", async () => {
  const history = new History(reporter(range(0, 9000)));
  await history.refresh();
  const read = await Promise.all([history.older(), history.older()]);
  assert.deepEqual(read, [true, false]);
  assert.deepEqual(starts(history), numbers(9000 - 4400, 9000));
});

test("events before and after a page are each there once", async () => {
  const candles = range(0, 100);
  const history = new History(reporter(candles));
  const page = history.refresh();
  history.put(candle(99));
  history.put(candle(100));
  await page;
  history.put(candle(100));
  history.put(candle(101));
  assert.deepEqual(starts(history), numbers(0, 102));
});

test("candles that were missed are read after a reconnect", async () => {
  const candles = range(0, 3000);
  const history = new History(reporter(candles));
  await history.refresh();
  candles.push(...range(3000, 3050));
  history.interrupt();
  history.put(candle(3050, { final: false }));
  await history.refresh();
  assert.deepEqual(starts(history), numbers(600, 3051));
});

test("after a long absence the history begins anew, without a hole", async () => {
  const candles = range(0, 3000);
  const history = new History(reporter(candles));
  await history.refresh();
  candles.push(...range(3000, 9000));
  history.interrupt();
  history.put(candle(9000, { final: false }));
  await history.refresh();
  assert.deepEqual(starts(history), numbers(8500, 9001));
  await history.older();
  assert.deepEqual(starts(history), numbers(6500, 9001));
});

test("a final candle replaces the open one, and a revision the one before", async () => {
  const history = new History(reporter([]));
  await history.refresh();
  const put = (more) => history.put(candle(1, more));
  assert.equal(put({ final: false, revision: 0, close: 1 }), true);
  assert.equal(put({ final: false, revision: 0, close: 2 }), true);
  assert.equal(put({ close: 3 }), true);
  assert.equal(put({ final: false, revision: 0, close: 4 }), false);
  assert.equal(put({ revision: 2, close: 5 }), true);
  assert.equal(put({ revision: 1, close: 6 }), false);
  assert.deepEqual(history.rows.map((row) => row.close), [5]);
});

test("a revision from before the loaded part is left to its page", async () => {
  const history = new History(reporter(range(0, 3000)));
  await history.refresh();
  assert.equal(history.put(candle(10, { revision: 2 })), false);
  assert.deepEqual(starts(history), numbers(600, 3000));
});

test("an empty page leads to the next one", async () => {
  const pages = { first: [candle(50)], a: [], b: [candle(10), candle(11)] };
  const nexts = { first: "a", a: "b" };
  const history = new History(async ({ cursor = "first" }) => ({ candles: pages[cursor], next: nexts[cursor] }));
  await history.refresh();
  while (await history.older());
  assert.deepEqual(starts(history), [10, 11, 50]);
});

test("after candles were forgotten, the oldest are read again by their time", async () => {
  const candles = range(0, 3000);
  const history = new History(reporter(candles));
  await history.refresh();
  for (const row of range(3000, 256_000)) {
    candles.push(row);
    history.put(row);
  }
  const { oldest } = history;
  assert.ok(oldest.start_ms > candle(100_000).start_ms && !history.isComplete);
  await history.older();
  assert.deepEqual(starts(history), numbers(oldest.start_ms / 60 - 2000, 256_000));
});
