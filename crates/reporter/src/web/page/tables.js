// The tables: candles of hours and days, the moving average, the profile of the day, and the bars that the chart shows, which
// is the chart for those who do not see it.

import { arrowKeys, byId, make } from "./dom.js";
import { day, formatOfCandles, minute, percent, priceFormat, priceText, rough, two, whole } from "./format.js";

const ROWS = 24;
const SHOWN_MAX = 200;

const TABLES = {
  hourly: { window: "1h", words: "Calendar hours, newest first.", time: minute },
  daily: { window: "1d", words: "UTC days, newest first.", time: day },
  moving_average: { window: "1h-30m", words: "Windows of one hour, every 30 minutes. Hourly bars fill only those that begin on the hour.", time: minute },
  hour_of_day: { words: "Closes at each UTC hour, over all days." },
  shown: { words: `The bars that the chart shows, newest first, at most ${SHOWN_MAX}.`, time: minute },
};

const HEADINGS = ["start", "open", "high", "low", "close", "average", "volume", "ticks", "coverage"];
const NO_ROWS = "No rows yet: no window of this length has closed that holds all of a bar.";

export class Tables {
  #tabs = [...document.querySelectorAll("#tables [role=tab]")];
  #shown = "hourly";
  #rowsOf;

  // `rowsOf` returns the data of a table: candles of a window oldest first, bars, or hours.
  constructor(rowsOf, onChoice) {
    this.#rowsOf = rowsOf;
    const choose = (tab) => {
      this.#shown = tab.dataset.table;
      onChoice(this.window);
      this.draw();
    };
    for (const tab of this.#tabs) tab.addEventListener("click", () => choose(tab));
    arrowKeys(this.#tabs, choose);
    this.draw();
  }

  // The window whose candles are shown, if it is one.
  get window() {
    return TABLES[this.#shown].window;
  }

  get shown() {
    return this.#shown;
  }

  draw() {
    const { words, time } = TABLES[this.#shown];
    for (const tab of this.#tabs) {
      const is = tab.dataset.table === this.#shown;
      tab.setAttribute("aria-selected", String(is));
      tab.tabIndex = is ? 0 : -1;
      if (is) byId("table").setAttribute("aria-labelledby", tab.id);
    }
    byId("explain").textContent = words;
    const rows = this.#rowsOf(this.#shown);
    if (this.#shown === "hour_of_day") return drawHours(rows);
    const most = this.#shown === "shown" ? SHOWN_MAX : ROWS;
    drawCandles(rows.filter((row) => this.#shown === "shown" || row.final).slice(-most).reverse(), time);
  }
}

// If only some ticks have a volume, their sum is a lower bound.
function volumeOf(row) {
  if (row.volume === undefined) return "";
  if (row.volume_count !== undefined) return `≥ ${rough(row.volume)} (${whole(row.volume_count)} of ${whole(row.count)})`;
  return row.isPartial ? `≥ ${rough(row.volume)}` : rough(row.volume);
}

function coverageOf(row) {
  return row.final ? percent(row.coverage, row.coverage > 0.9995 ? 0 : 1) : "open";
}

function drawCandles(rows, time) {
  const format = formatOfCandles(rows);
  // Only sources of trades know the value traded.
  const hasTraded = rows.some((row) => row.quote_volume !== undefined);
  const price = (value) => (value === undefined ? "" : priceText(format, value));
  const optional = (value) => (value === undefined ? "" : rough(value));
  const cells = rows.map((row) => [
    time(row.start_ms) + (row.revision > 1 ? ` (revision ${row.revision})` : ""),
    ...[row.open, row.high, row.low, row.close, row.average].map(price),
    volumeOf(row),
    whole(row.count) + (row.filled ? ` (${whole(row.filled)} filled)` : ""),
    coverageOf(row),
    ...(hasTraded ? [optional(row.quote_volume), price(row.vwap)] : []),
  ]);
  const isPart = (index, column) => {
    const row = rows[index];
    return (
      (column === 6 && (row.volume_count !== undefined || row.isPartial)) ||
      (column === 7 && row.filled > 0) ||
      (column === 8 && row.coverage < 0.9995)
    );
  };
  fill([...HEADINGS, ...(hasTraded ? ["quote volume", "vwap"] : [])], cells, NO_ROWS, isPart);
}

function drawHours(hours) {
  const format = priceFormat(hours.flatMap((hour) => [hour.min, hour.max]));
  const cells = hours.map((hour) => [
    `${two(hour.hour)}:00`,
    ...[hour.average, hour.min, hour.max].map((price) => priceText(format, price)),
    whole(hour.count),
  ]);
  fill(["hour", "average", "min", "max", "ticks"], cells, "No rows yet: the first hour has not closed.");
}

function fill(headings, rows, why, isPart = () => false) {
  const head = make("tr", {}, ...headings.map((text) => make("th", { scope: "col", text })));
  const body = rows.map((row, index) =>
    make("tr", {}, ...row.map((text, column) =>
      column === 0 ? make("th", { scope: "row", text }) : make("td", { text, class: isPart(index, column) ? "part" : undefined }),
    )),
  );
  const none = make("tr", {}, make("td", { class: "none", text: why }));
  byId("columns").replaceChildren(...(rows.length ? [head] : []));
  byId("rows").replaceChildren(...(rows.length ? body : [none]));
}
