// The line over the chart: the values of the bar under the crosshair, or of the newest one.

import { byId, make } from "./dom.js";
import { HOUR_MS, duration, minute, percent, priceText, short, whole } from "./format.js";
import { INTERVALS } from "./instrument_data.js";
import { countBefore, isThin } from "./slots.js";

export class Legend {
  #chart;
  #now;
  // The time under the crosshair.
  #hovered = null;

  // `now` returns the data of the instrument and the interval.
  constructor(chart, now) {
    this.#chart = chart;
    this.#now = now;
  }

  hover(ms) {
    this.#hovered = ms;
    this.draw();
  }

  draw() {
    const { data, interval } = this.#now();
    const ms = this.#hovered;
    const bar = ms === null ? this.#chart.lastBar : this.#chart.barAt(ms);
    const isKnown = data?.format && (bar || ms !== null);
    byId("legend").replaceChildren(...(isKnown ? this.#parts(data, interval, bar, ms) : []));
  }

  #parts(data, interval, bar, ms) {
    if (!bar) return [pair("", `${minute(ms)} UTC`), pair("", reasonOf(data, ms))];
    const { step, overlay } = this.#chart;
    const price = (value) => priceText(data.format, value);
    const move = bar.close / bar.open - 1;
    const parts = [pair("", `${minute(bar.start_ms)} UTC`), pair("", step === INTERVALS[interval] ? interval : `bars of ${duration(step)}`)];
    parts.push(pair("O", price(bar.open)), pair("H", price(bar.high)), pair("L", price(bar.low)), pair("C", price(bar.close)));
    parts.push(pair("", `${move < 0 ? "−" : "+"}${percent(Math.abs(move), 2)}`, move < 0 ? "down" : "up"));
    if (bar.volume !== undefined) parts.push(pair("V", `${bar.isPartial ? "≥ " : ""}${short(bar.volume)}`));
    const mean = averageAt(overlay.average, bar.end_ms);
    if (mean) parts.push(pair("1-hour average", price(mean.average), "average"));
    if (isThin(bar)) parts.push(pair("coverage", percent(bar.coverage, 0), "warn"));
    if (bar.filled) parts.push(pair("filled", `${whole(bar.filled)} of ${whole(bar.count)}`, "filled"));
    if (!bar.final) parts.push(pair("", "open"));
    return parts;
  }
}

function averageAt(rows, ms) {
  const newest = rows[countBefore(rows, ms + 1, (row) => row.end_ms) - 1];
  return newest && ms - newest.end_ms < HOUR_MS ? newest : undefined;
}

const pair = (name, value, kind) =>
  make("span", { class: kind }, ...(name ? [make("span", { class: "quiet", text: `${name} ` })] : []), value);

function reasonOf(data, ms) {
  const gap = data.quality?.gaps.find((gap) => gap.from_ms <= ms && ms < gap.to_ms);
  return gap ? `no candle: ${gap.cause}` : "no candle";
}
