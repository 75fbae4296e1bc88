import assert from "node:assert/strict";
import test from "node:test";

import { duration, fixed, priceFormat, priceText, rough, short, widerFormat } from "../../crates/reporter/src/web/page/format.js";

const written = (prices) => prices.map((price) => priceText(priceFormat(prices), price));

// The cases of `number.rs`.
test("prices of a column have equal decimals and lose no digit", () => {
  assert.deepEqual(written([8523.61, 8531.9]), ["8,523.61", "8,531.90"]);
  assert.deepEqual(written([0.000011, 0.0000125]), ["0.0000110", "0.0000125"]);
  assert.deepEqual(written([2.1e-14, 2.25e-14, 1e-15]), ["2.10e-14", "2.25e-14", "1.00e-15"]);
  assert.deepEqual(written([1e15, 1e15 + 1]), ["1,000,000,000,000,000", "1,000,000,000,000,001"]);
  assert.deepEqual(written([0.1 + 0.2]), ["0.300000000000"]);
  assert.deepEqual(written([1, 2.3456e-13]), ["1.0000000000000000", "0.0000000000002346"]);
});

test("zero has no sign, and a minus is a minus", () => {
  assert.equal(fixed(-0.001, 2), "0.00");
  assert.equal(fixed(-1234.5, 1), "−1,234.5");
  assert.equal(rough(-1e-15), "−1.000e-15");
});

test("the digits of a price do not jump from one to the next", () => {
  const format = [103376.5, 103376, 103376.25].reduce((wider, price) => widerFormat(wider, priceFormat([price])), null);
  assert.deepEqual([103376.5, 103376].map((price) => priceText(format, price)), ["103,376.50", "103,376.00"]);
});

test("volumes have four digits", () => {
  assert.deepEqual([0, 71.2345, 0.00071234, 999.96, 123456].map(rough), ["0", "71.23", "0.0007123", "1,000.0", "123,456"]);
  assert.deepEqual([1234, 12345, 1_234_567, 2e9].map(short), ["1,234", "12.35 k", "1.235 M", "2.000 B"]);
});

test("durations are in their largest unit", () => {
  const minutes = [0, 1, 2, 119, 120, 48 * 60, 365 * 48 * 60];
  assert.deepEqual(minutes.map((each) => duration(each * 60_000)), ["0 s", "60 s", "2 min", "119 min", "2 h", "2 days", "2 years"]);
});
