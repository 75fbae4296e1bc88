// All that the page knows of the chosen instrument, and the events that change it.

import { ask } from "./api.js";
import { HOUR_MS, formatOfCandles, priceFormat, widerFormat } from "./format.js";
import { History } from "./history.js";
import { countBefore } from "./slots.js";

const SCORED_PAGE = 500;
const SCORED_MAX = 20_000;
// Candles from which the format of prices is taken.
const FORMAT_ROWS = 200;

export const INTERVALS = { "1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": HOUR_MS, "1d": 24 * HOUR_MS };

const isSame = (a, b) =>
  a.recipe === b.recipe && a.interval === b.interval && a.made_ms === b.made_ms && a.target_end_ms === b.target_end_ms;

export class InstrumentData {
  price = null;
  before = null;
  format = null;
  hours = [];
  pending = [];
  // Oldest first.
  scored = [];
  // Newest first.
  models = [];
  live = [];
  quality = null;
  qualityMs = null;
  #histories = new Map();
  #scoredNext;
  #readsScored = false;

  constructor({ coin, quote }) {
    this.instrument = { coin, quote };
  }

  // The candles of a window; reads them the first time. The promise is for the first page.
  history(window) {
    const known = this.#histories.get(window);
    if (known) return known;
    const history = new History((range) => ask("candles", { ...this.instrument, window, ...range }));
    this.#histories.set(window, history);
    return history;
  }

  // Reads the candles of a window unless they are here.
  async load(window) {
    const history = this.history(window);
    if (!history.isLoaded) {
      history.loading ??= history.refresh().finally(() => {
        history.loading = null;
      });
      await history.loading;
    }
    if (window in INTERVALS) this.#widen(history.rows.slice(-FORMAT_ROWS));
    return history;
  }

  // Events may have been missed.
  interrupt() {
    for (const history of this.#histories.values()) history.interrupt();
  }

  // Reads again what may have changed while events were missed.
  refresh() {
    const loaded = [...this.#histories.values()].filter((history) => history.isLoaded);
    return Promise.all(loaded.map((history) => history.refresh()));
  }

  #widen(rows) {
    if (rows.length) this.format = widerFormat(this.format, formatOfCandles(rows));
  }

  // Takes candles of an event. Returns those that changed something in the history of their window.
  putCandles(window, rows) {
    const history = this.#histories.get(window);
    return history ? rows.filter((row) => history.put(row)) : [];
  }

  // Takes a price; returns whether it is the newest.
  putPrice(row) {
    if (this.price && row.event_ms < this.price.event_ms) return false;
    this.before = this.price;
    this.price = row;
    this.format = widerFormat(this.format, priceFormat([row.close]));
    return true;
  }

  async loadPrice() {
    const { prices } = await ask("prices", { ...this.instrument, limit: 1 });
    if (prices.length) this.putPrice(prices[0]);
  }

  // The share by which the price has changed in 24 hours, by hourly closes; null where that is not known.
  change() {
    const rows = this.#histories.get("1h")?.rows ?? [];
    if (!this.price || !rows.length) return null;
    const day = this.price.known_ms - 24 * HOUR_MS;
    const before = rows[countBefore(rows, day + 1, (row) => row.end_ms) - 1];
    if (!before || day - before.end_ms >= HOUR_MS) return null;
    return this.price.close / before.close - 1;
  }

  async loadHours() {
    this.hours = (await ask("hours", this.instrument)).hours;
  }

  async loadModels() {
    const { models, live } = await ask("models", this.instrument);
    this.models = models;
    this.live = live;
  }

  async loadForecasts() {
    const { pending, scored, next } = await ask("forecasts", { ...this.instrument, limit: SCORED_PAGE });
    this.pending = pending;
    this.scored = scored;
    this.#scoredNext = next;
  }

  // Reads scored forecasts from before the oldest, if that one is later than `ms`.
  async olderForecasts(ms) {
    const isEnough = !this.scored.length || this.scored[0].target_start_ms <= ms || this.scored.length >= SCORED_MAX;
    if (isEnough || this.#readsScored || this.#scoredNext === undefined) return false;
    this.#readsScored = true;
    try {
      const { scored, next } = await ask("forecasts", { ...this.instrument, limit: SCORED_PAGE, cursor: this.#scoredNext });
      this.scored = scored.concat(this.scored);
      this.#scoredNext = next;
      return scored.length > 0;
    } finally {
      this.#readsScored = false;
    }
  }

  async loadQuality(nowMs) {
    this.quality = await ask("quality", this.instrument);
    this.qualityMs = nowMs;
  }

  // A forecast whose target ended before a newer one was made missed its truth: a candle is missing.
  putForecast(row) {
    const isOver = (known) => known.recipe === row.recipe && known.interval === row.interval && known.target_end_ms <= row.made_ms;
    this.pending = this.pending.filter((known) => !isSame(known, row) && !isOver(known)).concat(row);
  }

  putScore(row) {
    this.pending = this.pending.filter((known) => !isSame(known, row));
    // A reconnect may bring the newest again.
    const recent = this.scored.slice(-50);
    if (!recent.some((known) => isSame(known, row))) this.scored.push(row);
    if (this.scored.length <= SCORED_MAX) return;
    // A fast replay brings more than can be seen.
    this.scored = this.scored.slice(-SCORED_MAX / 2);
    this.#scoredNext = undefined;
  }
}
