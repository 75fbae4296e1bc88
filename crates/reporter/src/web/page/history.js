// The candles of one window of one instrument: the newest pages of the history, and what events add. Each start has one
// candle, and between the oldest and the newest none is missing.

import { countBefore } from "./slots.js";

// The first page holds 90 days of hourly candles and some more.
const FIRST_PAGE = 2400;
// After a reconnect little is missing.
const REFRESH_PAGE = 500;
// Reading a page must not hold up the page for long.
const OLDER_PAGE = 2000;
// Candles that are kept, at most.
const ROWS_MAX = 250_000;

export class History {
  rows = [];
  // True once the oldest candle is here.
  isComplete = false;
  isLoaded = false;
  // The promise of the first page while it is being read.
  loading = null;
  #askPage;
  #older = null;
  // The cursor of the page before the candle that starts at `before`.
  #next = {};
  // The end of the candles without a hole, while there may be one after it.
  #seamMs = null;

  // `askPage({limit, cursor, to_ms})` returns a page of `/api/v1/candles`.
  constructor(askPage) {
    this.#askPage = askPage;
  }

  get oldest() {
    return this.rows[0];
  }

  get newest() {
    return this.rows[this.rows.length - 1];
  }

  // Events may have been missed: candles that come from now on may leave a hole, until `refresh` has read the newest page.
  interrupt() {
    this.#seamMs ??= this.newest?.end_ms ?? -Infinity;
  }

  // Reads the newest page: at first, and after an interruption.
  async refresh() {
    const seamMs = this.#seamMs;
    const page = await this.#askPage({ limit: this.isLoaded ? REFRESH_PAGE : FIRST_PAGE });
    const first = page.candles[0]?.start_ms ?? -Infinity;
    if (this.#seamMs === seamMs) this.#seamMs = null;
    if (this.isLoaded && first <= (seamMs ?? this.newest?.end_ms)) {
      this.rows = merged(this.rows, page.candles);
      return;
    }
    // Candles from before the page are left out: there is a hole between. Those of events may be newer.
    this.rows = merged(this.rows.filter((row) => row.start_ms >= first), page.candles);
    this.#setNext(page.next);
    this.isLoaded = true;
  }

  // A page may be empty and have a next one.
  #setNext(cursor) {
    this.#next = { cursor, before: this.oldest?.start_ms };
    this.isComplete = cursor === undefined;
  }

  // Reads the page before the oldest candle. One at a time; returns whether there was something to read.
  async older() {
    if (this.isComplete || !this.isLoaded || this.#older || !this.oldest || this.rows.length >= ROWS_MAX) return false;
    const to_ms = this.oldest.start_ms;
    const { cursor, before } = this.#next;
    this.#older = this.#askPage({ limit: OLDER_PAGE, ...(before === to_ms ? { cursor } : { to_ms }) });
    try {
      const page = await this.#older;
      // A refresh has begun anew meanwhile.
      if (this.oldest?.start_ms !== to_ms) return false;
      this.rows = merged(page.candles, this.rows);
      this.#setNext(page.next);
      return true;
    } finally {
      this.#older = null;
    }
  }

  // Takes a candle of an event. Returns whether anything changed.
  put(row) {
    const { rows } = this;
    const place = rows.length && rows[rows.length - 1].start_ms < row.start_ms ? rows.length : countBefore(rows, row.start_ms);
    const known = rows[place];
    if (known?.start_ms !== row.start_ms) {
      // A candle from before the loaded part belongs to a page that was not read yet.
      if (place === 0 && this.isLoaded && rows.length > 0 && !this.isComplete) return false;
      rows.splice(place, 0, row);
      if (rows.length > ROWS_MAX + OLDER_PAGE) this.#forget();
      return true;
    }
    if (!isNewer(row, known)) return false;
    rows[place] = row;
    return true;
  }

  // A long replay brings more candles than are kept. The oldest can be read again.
  #forget() {
    this.rows = this.rows.slice(-ROWS_MAX / 2);
    this.isComplete = false;
  }
}

// A final candle replaces an open one, and a revision those before it.
function isNewer(row, known) {
  if (known.final !== row.final) return row.final;
  return row.revision >= known.revision;
}

// Merges two lists by start, oldest first. Where both have a candle, the newer one stays.
function merged(a, b) {
  if (!a.length || !b.length || a[a.length - 1].start_ms < b[0].start_ms) return a.concat(b);
  const rows = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i].start_ms < b[j].start_ms) rows.push(a[i++]);
    else if (a[i].start_ms > b[j].start_ms) rows.push(b[j++]);
    else {
      rows.push(isNewer(b[j], a[i]) ? b[j] : a[i]);
      i += 1;
      j += 1;
    }
  }
  return rows.concat(a.slice(i), b.slice(j));
}
