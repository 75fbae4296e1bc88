// Judges the age of what a panel shows: "good", "warn" or "bad", and "still" where age is no fault. Pure: no clock, no page.

import { MINUTE_MS } from "./format.js";

// A source that polls may miss a few polls before its silence says something.
const POLLS = { warn: 3, bad: 10 };
// Without a known polling interval: 15 minutes are the time after which the reporter calls a source silent.
const PRICE = { warn: 15 * MINUTE_MS, bad: 60 * MINUTE_MS };
const PRICE_MIN = { warn: 2 * MINUTE_MS, bad: 10 * MINUTE_MS };
// Counts are read again when something happens.
const COUNTS = { warn: 5 * MINUTE_MS, bad: 30 * MINUTE_MS };
const PIPELINE = { warn: MINUTE_MS, bad: 5 * MINUTE_MS };

// The part of a model's life after which a new one is due.
const RENEWAL = 0.75;

// Sources whose data do not grow older: nothing newer will come, or it comes faster than time passes.
const TIMELESS = new Set(["replaying", "finished", "none"]);

function judged(ageMs, limits) {
  if (ageMs >= limits.bad) return "bad";
  return ageMs >= limits.warn ? "warn" : "good";
}

function limitsOfPrice(pollMs) {
  if (!pollMs) return PRICE;
  return {
    warn: Math.max(PRICE_MIN.warn, POLLS.warn * pollMs),
    bad: Math.max(PRICE_MIN.bad, POLLS.bad * pollMs),
  };
}

// The age of the newest price. `pollMs` is the polling interval of the source, where it is known.
export function priceState(ageMs, { source, pollMs }) {
  return TIMELESS.has(source) ? "still" : judged(ageMs, limitsOfPrice(pollMs));
}

// The age of the newest final candle, since its end: the next one ends an interval later, and is due then.
export function candleState(ageMs, { source, pollMs, intervalMs }) {
  if (TIMELESS.has(source)) return "still";
  const limits = limitsOfPrice(pollMs);
  return judged(ageMs, { warn: intervalMs + limits.warn, bad: 3 * intervalMs + limits.bad });
}

// The time since the end of the newest forecast's target: then its truth and the next forecast are due.
export function forecastState(overdueMs, { source, intervalMs }) {
  if (TIMELESS.has(source)) return "still";
  return judged(overdueMs, { warn: intervalMs + PRICE.warn, bad: 3 * intervalMs + PRICE.bad });
}

// The life of a model, from when it counts to when it expires.
export function modelState(nowMs, { source, fromMs, untilMs }) {
  if (TIMELESS.has(source)) return "still";
  const life = untilMs - fromMs;
  return judged(nowMs - fromMs, { warn: RENEWAL * life, bad: life });
}

// The time since the counts were read. They do not change while nothing comes.
export function countState(ageMs, { source }) {
  return TIMELESS.has(source) ? "good" : judged(ageMs, COUNTS);
}

// The time since the reporter was last heard of.
export const pipelineState = (ageMs) => judged(ageMs, PIPELINE);
