// Drawings over and under the candles: gaps, the moving average, forecasts with their bands, and marks of filled candles. A
// primitive of the chart library. It maps times to places by the slots, so it can draw at any time, also in the future.

import { countBefore, placeOf, slotMs } from "./slots.js";

// A forecast narrower than this is drawn as a line without its details.
const DETAIL_PIXELS_MIN = 3;
const AVERAGE_HOP_MS = 30 * 60_000;
const MARK_HEIGHT = 3;

const level = (row, wanted) => row.bands.find((band) => Math.abs(band.level - wanted) < 1e-9);
const endOf = (row) => row.target_end_ms;

export class Overlay {
  // Filled by the chart: `step` and `first` map times to slots.
  slots = { step: 1, first: 0 };
  average = [];
  scored = [];
  pending = [];
  gaps = [];
  bars = [];
  shown = { average: true, forecast: true, past: true };
  colors = null;
  #chart = null;
  #series = null;
  #update = () => {};
  #views = [
    { zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.#draw(target, this.#below) }) },
    { zOrder: () => "top", renderer: () => ({ draw: (target) => this.#draw(target, this.#above) }) },
  ];

  attached({ chart, series, requestUpdate }) {
    this.#chart = chart;
    this.#series = series;
    this.#update = requestUpdate;
  }

  detached() {
    this.#chart = null;
  }

  redraw() {
    this.#update();
  }

  paneViews() {
    return this.#views;
  }

  // Keeps the band of the live forecast within the picture.
  autoscaleInfo(first, last) {
    if (!this.shown.forecast) return null;
    const { step, first: slot } = this.slots;
    const isVisible = (row) => {
      const place = placeOf(row.target_end_ms, step) - slot;
      return first <= place && place - 1 <= last;
    };
    const ends = this.pending.filter(isVisible).flatMap((row) => {
      const band = level(row, 0.9);
      return band ? [band.lower, band.upper] : [row.prediction];
    });
    if (!ends.length) return null;
    return { priceRange: { minValue: Math.min(...ends), maxValue: Math.max(...ends) } };
  }

  #draw(target, work) {
    if (!this.#chart || !this.colors) return;
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      const scale = this.#chart.timeScale();
      const { step, first } = this.slots;
      // The library gives the places of whole slots only, at their middle.
      const start = scale.logicalToCoordinate(0);
      const width = scale.logicalToCoordinate(1) - start;
      const x = (ms) => start + (placeOf(ms, step) - first - 0.5) * width;
      const y = (price) => this.#series.priceToCoordinate(price);
      const left = scale.coordinateToLogical(0);
      const right = scale.coordinateToLogical(mediaSize.width);
      if (left === null || right === null) return;
      const visible = { from: slotMs(left + first - 1, step), to: slotMs(right + first + 2, step) };
      context.save();
      work.call(this, { context, x, y, visible, height: mediaSize.height });
      context.restore();
    });
  }

  #below(at) {
    this.#drawGaps(at);
    this.#drawMarks(at);
    if (this.shown.past) this.#drawPastBands(at);
  }

  #above(at) {
    if (this.shown.average) this.#drawAverage(at);
    if (this.shown.past) this.#drawPast(at);
    if (this.shown.forecast) this.pending.forEach((row) => this.#drawPending(at, row));
  }

  #drawGaps({ context, x, visible, height }) {
    context.fillStyle = this.colors.gap;
    for (const [from, to] of this.gaps) {
      if (to <= visible.from || from >= visible.to) continue;
      const [left, right] = [x(Math.max(from, visible.from)), x(Math.min(to, visible.to))];
      context.fillRect(left, 0, Math.max(1, right - left), height);
    }
  }

  // A strip at the foot of the candles that were fetched afterwards.
  #drawMarks({ context, x, visible, height }) {
    context.fillStyle = this.colors.filled;
    for (let index = countBefore(this.bars, visible.from); index < this.bars.length; index += 1) {
      const bar = this.bars[index];
      if (bar.start_ms >= visible.to) break;
      if (bar.filled === 0) continue;
      const left = x(bar.start_ms);
      context.fillRect(left, height - MARK_HEIGHT, Math.max(1, x(bar.end_ms) - left), MARK_HEIGHT);
    }
  }

  #drawAverage({ context, x, y, visible }) {
    const rows = this.average;
    const end = (row) => row.end_ms;
    let last = null;
    context.beginPath();
    for (let index = Math.max(0, countBefore(rows, visible.from, end) - 1); index < rows.length; index += 1) {
      const row = rows[index];
      const height = y(row.average);
      if (height === null) return;
      if (last !== null && row.end_ms - last <= AVERAGE_HOP_MS) context.lineTo(x(row.end_ms), height);
      else context.moveTo(x(row.end_ms), height);
      last = row.end_ms;
      if (row.end_ms > visible.to) break;
    }
    context.strokeStyle = this.colors.average;
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    context.stroke();
  }

  #pastRows(visible) {
    const first = countBefore(this.scored, visible.from, endOf);
    const last = countBefore(this.scored, visible.to, (row) => row.target_start_ms);
    return this.scored.slice(first, last);
  }

  #drawPastBands({ context, x, y, visible }) {
    context.fillStyle = this.colors["band-90"];
    for (const row of this.#pastRows(visible)) {
      const band = level(row, 0.9);
      if (!band) continue;
      const [left, top] = [x(row.target_start_ms), y(band.upper)];
      context.fillRect(left, top, Math.max(1, x(row.target_end_ms) - left), Math.max(1, y(band.lower) - top));
    }
  }

  // The prediction over its target; a cross at the truth where it was outside the 90 % band.
  #drawPast({ context, x, y, visible }) {
    const rows = this.#pastRows(visible);
    context.beginPath();
    for (const row of rows) {
      const height = y(row.prediction);
      context.moveTo(x(row.target_start_ms), height);
      context.lineTo(x(row.target_end_ms), height);
    }
    context.strokeStyle = this.colors.forecast;
    context.lineWidth = 1;
    context.stroke();
    context.beginPath();
    for (const row of rows.filter((row) => row.inside === false)) {
      const [right, height] = [x(row.target_end_ms), y(row.actual)];
      if (right - x(row.target_start_ms) < DETAIL_PIXELS_MIN) continue;
      context.moveTo(right - 3, height - 3);
      context.lineTo(right + 3, height + 3);
      context.moveTo(right - 3, height + 3);
      context.lineTo(right + 3, height - 3);
    }
    context.strokeStyle = this.colors.miss;
    context.lineWidth = 1.5;
    context.stroke();
  }

  // A fan from the last close to the bands at the end of the target.
  #drawPending({ context, x, y }, row) {
    const [start, end] = [x(row.made_ms), x(row.target_end_ms)];
    const from = y(row.baseline);
    for (const [share, color] of [[0.9, "band-90"], [0.5, "band-50"]]) {
      const band = level(row, share);
      if (!band) continue;
      context.fillStyle = this.colors[color];
      context.beginPath();
      context.moveTo(start, from);
      context.lineTo(end, y(band.upper));
      context.lineTo(end, y(band.lower));
      context.closePath();
      context.fill();
    }
    context.strokeStyle = this.colors.forecast;
    context.lineWidth = 1.5;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(start, from);
    context.lineTo(end, y(row.prediction));
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = this.colors.forecast;
    context.beginPath();
    context.arc(end, y(row.prediction), 3, 0, 2 * Math.PI);
    context.fill();
  }
}
