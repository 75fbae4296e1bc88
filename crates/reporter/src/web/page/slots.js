// Slots of the chart's time axis, and the bars in them. Pure.
//
// Each slot is one step of time, and has its place on the axis whether it has a candle or not, so time is drawn true. A step
// is the interval of the candles, or a multiple of it when so much time is shown that a candle would be too narrow: then the
// candles of a slot are merged into one bar.

import { DAY_MS, MINUTE_MS } from "./format.js";

// A Monday: slots of several days begin on it.
const ORIGIN_MS = 4 * DAY_MS;
const STEPS_MIN = [1, 2, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1440, 2880, 10_080, 40_320];
// Candles of a bar, at most. With this many, the chart of a wide screen shows 100,000 candles and more.
const MERGED_MAX = 240;
// Pixels of a bar, at least.
const PIXELS_MIN = 2;
// A smaller step is taken once its bars are wider than this, so that the step does not change back and forth.
const PIXELS_BACK = 2.6;
// Slots beside the visible ones, at least; and as a share of the visible ones. Moving within them costs nothing.
const BESIDE_MIN = 150;
const BESIDE = 1.25;
// Distances between candles from which the usual one is taken, on each side of a range.
const DISTANCES = 500;
// With candles that are usually further apart than their interval, a gap is longer than this many usual distances.
const USUAL_MAX = 3;

export const slotOf = (ms, step) => Math.floor((ms - ORIGIN_MS) / step);
export const slotMs = (slot, step) => ORIGIN_MS + slot * step;
// The place of a time in slots, as a fraction; a slot begins at its number.
export const placeOf = (ms, step) => (ms - ORIGIN_MS) / step;

// The steps for candles of an interval, shortest first.
export function stepsOf(intervalMs) {
  const steps = STEPS_MIN.map((minutes) => minutes * MINUTE_MS);
  return steps.filter((step) => step % intervalMs === 0 && step / intervalMs <= MERGED_MAX);
}

// The step at which bars are wide enough. Keeps the current one where it can.
export function stepFor(intervalMs, pixelsPerMs, current) {
  const steps = stepsOf(intervalMs);
  const wide = (pixels) => steps.find((step) => step * pixelsPerMs >= pixels) ?? steps[steps.length - 1];
  const smallest = wide(PIXELS_MIN);
  if (!steps.includes(current) || smallest > current) return smallest;
  return Math.min(current, wide(PIXELS_BACK));
}

// The slots that the chart holds while it shows [from, to): some beside the visible ones, where data are. `oldest` and
// `newest` are times of the data, and `ahead` is a time in the future up to which something is drawn.
export function windowOf({ from, to }, step, { oldest, newest, ahead }) {
  const beside = Math.max(BESIDE_MIN, Math.ceil((BESIDE * (to - from)) / step));
  const lastSlot = Math.max(slotOf(newest, step) + BESIDE_MIN, slotOf(ahead, step));
  const end = Math.min(slotOf(to, step) + beside, lastSlot) + 1;
  const first = Math.max(slotOf(from, step) - beside, slotOf(oldest, step));
  return first < end ? { first, end } : { first: end - 1, end };
}

// The number of rows that start before a time.
export function countBefore(rows, ms, timeOf = (row) => row.start_ms) {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeOf(rows[middle]) < ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The bars of the slots from `first` up to `end`, oldest first.
export function barsOf(rows, intervalMs, step, first, end) {
  const [from, to] = [countBefore(rows, slotMs(first, step)), countBefore(rows, slotMs(end, step))];
  const newest = rows.length ? slotOf(rows[rows.length - 1].start_ms, step) : 0;
  const bars = [];
  for (let index = from; index < to; index += 1) {
    const row = rows[index];
    const slot = slotOf(row.start_ms, step);
    const last = bars[bars.length - 1];
    if (last?.slot === slot) add(last, row, intervalMs / step);
    else bars.push(begin(row, slot, intervalMs / step));
  }
  const last = bars[bars.length - 1];
  // Of the newest slot, candles may still come.
  if (last?.slot === newest && rows[rows.length - 1].end_ms < slotMs(newest + 1, step)) last.final = false;
  return bars;
}

function begin(row, slot, share) {
  return {
    slot,
    start_ms: row.start_ms,
    end_ms: row.end_ms,
    open: row.open,
    high: row.high,
    low: row.low,
    close: row.close,
    average: share === 1 ? row.average : undefined,
    volume: row.volume,
    isPartial: row.volume_count !== undefined,
    count: row.count,
    filled: row.filled ?? 0,
    coverage: row.coverage * share,
    final: row.final,
    candles: 1,
    revision: share === 1 ? row.revision : undefined,
  };
}

function add(bar, row, share) {
  bar.end_ms = row.end_ms;
  bar.high = Math.max(bar.high, row.high);
  bar.low = Math.min(bar.low, row.low);
  bar.close = row.close;
  bar.isPartial ||= row.volume_count !== undefined || (row.volume === undefined) !== (bar.volume === undefined);
  if (row.volume !== undefined) bar.volume = (bar.volume ?? 0) + row.volume;
  bar.count += row.count;
  bar.filled += row.filled ?? 0;
  bar.coverage += row.coverage * share;
  bar.final &&= row.final;
  bar.candles += 1;
}

// Candles of less than full coverage say less than they seem to. Sums of shares are not exact.
export const isThin = (bar) => bar.final && bar.coverage < 0.9995;

// The spans without candles between the rows of [fromMs, toMs), as pairs of times.
export function gapsOf(rows, intervalMs, fromMs, toMs) {
  const first = Math.max(0, countBefore(rows, fromMs) - 1);
  const last = Math.min(rows.length, countBefore(rows, toMs) + 1);
  const usual = usualDistance(rows, first, last);
  const limit = usual > intervalMs ? USUAL_MAX * usual : intervalMs;
  const gaps = [];
  for (let index = first + 1; index < last; index += 1) {
    if (rows[index].start_ms - rows[index - 1].start_ms > limit) gaps.push([rows[index - 1].end_ms, rows[index].start_ms]);
  }
  return gaps;
}

// The median distance of the rows in a range, and of some beside it.
function usualDistance(rows, first, last) {
  const [from, to] = [Math.max(0, first - DISTANCES), Math.min(rows.length, last + DISTANCES)];
  const stride = Math.max(1, Math.floor((to - from) / (2 * DISTANCES)));
  const distances = [];
  for (let index = from + 1; index < to; index += stride) distances.push(rows[index].start_ms - rows[index - 1].start_ms);
  distances.sort((a, b) => a - b);
  return distances[distances.length >> 1] ?? 0;
}
