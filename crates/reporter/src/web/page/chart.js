// The chart: candles and volume of one instrument, drawn by lightweight-charts.
//
// The library holds only the slots around the visible time, so that a step through a long history costs as much as one
// through a short one. When the view comes near their end, or so much time is shown that bars have to be merged, the slots
// are chosen anew. The library counts slots from the first one that it holds; `#first` is the number of that slot.

import { CandlestickSeries, createChart, CrosshairMode, HistogramSeries, LineSeries } from "../vendor/lightweight-charts.mjs";

import { priceText } from "./format.js";
import { Overlay } from "./overlay.js";
import { barsOf, countBefore, gapsOf, isThin, slotMs, slotOf, stepFor, placeOf, windowOf } from "./slots.js";
import { faded } from "./theme.js";

// Pixels of a bar when an interval is chosen.
const PIXELS = 6;
// Room on the right of the newest candle, as a share of the view.
const ROOM = 0.06;
// Slots are chosen anew when the view is nearer to their end than this share of its width.
const NEAR = 0.5;
// The width of the price axis.
const AXIS_PIXELS = 64;
const PAN = 0.15;
const ZOOM = 1.35;
// Slots in view, at least.
const SLOTS_LEAST = 5;
// Slots in view, at least, when all of a short history is shown.
const SLOTS_MIN = 40;
// Bars that are updated one by one; with more, as in a fast replay, all are set anew.
const UPDATES_MAX = 40;
const THIN_OPACITY = { least: 0.12, most: 0.5 };
const PARTIAL_OPACITY = 0.35;
// The time after the last movement of a swipe, which goes on without a finger.
const SWIPE_MS = 150;

const second = (ms) => ms / 1000;

export class ChartView {
  #rows = () => [];
  #intervalMs = 60_000;
  #step = 0;
  #first = 0;
  #end = 0;
  #bars = [];
  // The time between the left and the right edge.
  #view = null;
  #colors = null;
  #format = { plain: 2 };
  #hasVolume = true;
  #changed = new Set();
  #isStale = false;
  #frame = null;
  // The library applies a view at its next frame; until then its own view is that of before. Counts the views that it was
  // given.
  #isSettling = false;
  #views = 0;
  #isHeld = false;
  #swipe = null;
  #chart;
  #series;
  #volume;
  #grid;
  #onHover;
  #onView;
  overlay = new Overlay();

  // `onHover` gets the time under the crosshair, or null; `onView` is told that the view has changed.
  constructor(box, { onHover, onView }) {
    this.#onHover = onHover;
    this.#onView = onView;
    this.#chart = createChart(box, OPTIONS);
    this.#series = this.#chart.addSeries(CandlestickSeries, { priceLineWidth: 1 });
    this.#volume = this.#chart.addSeries(HistogramSeries, { lastValueVisible: false, priceLineVisible: false, priceFormat: { type: "volume" } }, 1);
    // It gives every slot its place, also where no candle is.
    this.#grid = this.#chart.addSeries(LineSeries, { visible: false, lastValueVisible: false, priceLineVisible: false, autoscaleInfoProvider: () => null });
    this.#series.attachPrimitive(this.overlay);
    const [main, foot] = this.#chart.panes();
    main.setStretchFactor(5);
    foot.setStretchFactor(1);
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.#moved(range));
    this.#chart.timeScale().subscribeSizeChange(() => this.#later());
    this.#chart.subscribeCrosshairMove((at) => this.#hovered(at));
    box.addEventListener("pointerdown", (event) => this.#hold(event), { capture: true });
    addEventListener("pointerup", (event) => this.#release(event), { capture: true });
    addEventListener("pointercancel", (event) => this.#release(event), { capture: true });
  }

  // Shows other candles: `rows` returns them, oldest first. Begins at the newest, or with all if `fit` is true.
  show(rows, intervalMs, fit) {
    this.#rows = rows;
    this.#intervalMs = intervalMs;
    this.#step = 0;
    this.#view = null;
    const all = rows();
    if (!all.length) return this.#clear();
    const to = all[all.length - 1].end_ms;
    const width = this.#width();
    const asked = fit ? Infinity : (width / PIXELS) * intervalMs;
    const span = Math.max(Math.min(asked, to - all[0].start_ms), SLOTS_MIN * intervalMs);
    this.#view = { from: to - span, to: to + ROOM * span };
    this.#rebuild();
  }

  get isEmpty() {
    return this.#view === null;
  }

  get view() {
    return this.#view;
  }

  get step() {
    return this.#step;
  }

  // Whether the newest candle is in view.
  get isAtEnd() {
    const rows = this.#rows();
    const newest = rows[rows.length - 1];
    return !newest || !this.#view || (this.#view.from < newest.end_ms && newest.start_ms < this.#view.to);
  }

  // The bars in view, oldest first.
  bars() {
    if (!this.#view) return [];
    return this.#bars.filter((bar) => bar.end_ms > this.#view.from && bar.start_ms < this.#view.to);
  }

  // The bar whose slot has this time.
  barAt(ms) {
    const slot = slotOf(ms, this.#step);
    const bar = this.#bars[countBefore(this.#bars, slot, (known) => known.slot)];
    return bar?.slot === slot ? bar : null;
  }

  // The newest bar in view.
  get lastBar() {
    return this.#bars.findLast((bar) => bar.start_ms < this.#view?.to) ?? null;
  }

  // Candles were added or replaced. `before` was the newest candle until now: while it is in view, the view follows.
  put(rows, before) {
    if (!this.#view) return;
    for (const row of rows) this.#changed.add(slotOf(row.start_ms, this.#step));
    if (this.#changed.size > UPDATES_MAX) this.#isStale = true;
    const isFollowed = !this.#isHeld && this.#view.from < before.end_ms && before.start_ms < this.#view.to;
    const shift = rows[rows.length - 1].end_ms - before.end_ms;
    if (isFollowed && shift > 0) this.#go({ from: this.#view.from + shift, to: this.#view.to + shift });
    this.#later();
  }

  // Any of the rows may have changed.
  refresh() {
    this.#isStale = true;
    this.#later();
  }

  // Older rows were read, or what is drawn over the candles has changed.
  extend() {
    this.overlay.redraw();
    this.#later();
  }

  pan(direction) {
    this.#move((view, span) => ({ from: view.from + direction * PAN * span, to: view.to + direction * PAN * span }));
  }

  zoom(direction) {
    const factor = direction > 0 ? 1 / ZOOM : ZOOM;
    this.#move((view) => {
      // The newest candle stays in its place while it is in view.
      const rows = this.#rows();
      const fixed = this.isAtEnd ? rows[rows.length - 1].end_ms : (view.from + view.to) / 2;
      return { from: fixed - (fixed - view.from) * factor, to: fixed + (view.to - fixed) * factor };
    });
  }

  toEnd() {
    this.#move((_, span) => {
      const to = this.#rows()[this.#rows().length - 1].end_ms + ROOM * span;
      return { from: to - span, to };
    });
  }

  toStart() {
    this.#move((_, span) => {
      const from = this.#rows()[0].start_ms - ROOM * span;
      return { from, to: from + span };
    });
  }

  setColors(colors) {
    this.#colors = colors;
    this.overlay.colors = colors;
    this.#chart.applyOptions({
      layout: { background: { type: "solid", color: colors.card }, textColor: colors.quiet, panes: { separatorColor: colors.line } },
      grid: { vertLines: { color: colors.grid }, horzLines: { color: colors.grid } },
      crosshair: { vertLine: { color: colors.quiet, labelBackgroundColor: colors.ink }, horzLine: { color: colors.quiet, labelBackgroundColor: colors.ink } },
      timeScale: { borderColor: colors.line },
      rightPriceScale: { borderColor: colors.line },
    });
    const { up, down } = colors;
    this.#series.applyOptions({ upColor: up, downColor: down, borderUpColor: up, borderDownColor: down, wickUpColor: up, wickDownColor: down });
    this.refresh();
  }

  setFormat(format) {
    this.#format = format;
    const decimals = "exponential" in format ? 18 : format.plain;
    const priceFormat = { type: "custom", base: 10 ** decimals, minMove: 10 ** -decimals, formatter: (price) => priceText(this.#format, price) };
    this.#series.applyOptions({ priceFormat });
  }

  // Without volumes, the number of ticks is shown below.
  setVolume(hasVolume) {
    this.#hasVolume = hasVolume;
  }

  // The width of the panes; before the first layout, about that.
  #width() {
    return this.#chart.timeScale().width() || Math.max(200, this.#chart.chartElement().clientWidth - AXIS_PIXELS);
  }

  #clear() {
    this.#bars = [];
    this.overlay.bars = [];
    this.overlay.gaps = [];
    for (const series of [this.#grid, this.#series, this.#volume]) series.setData([]);
  }

  #move(next) {
    if (!this.#view || !this.#rows().length) return;
    const { from, to } = this.#view;
    const view = next(this.#view, to - from);
    if (view.to - view.from < SLOTS_LEAST * this.#intervalMs) return;
    this.#go(view);
    this.#later();
  }

  // Shows a time. The library shows only slots that it holds.
  #go(view) {
    this.#view = view;
    if (this.#mustRebuild()) this.#rebuild();
    else this.#applyView();
  }

  #applyView() {
    const view = this.#view;
    this.#isSettling = true;
    this.#views += 1;
    const number = this.#views;
    const [from, to] = [placeOf(view.from, this.#step) - this.#first, placeOf(view.to, this.#step) - this.#first - 1];
    this.#chart.timeScale().setVisibleLogicalRange({ from, to: Math.max(from, to) });
    requestAnimationFrame(() => {
      if (number !== this.#views) return;
      this.#isSettling = false;
      // The library limits how far one can zoom.
      this.#take(this.#chart.timeScale().getVisibleLogicalRange());
    });
  }

  #take(range) {
    if (!range || !this.#view) return;
    this.#view = { from: slotMs(this.#first + range.from, this.#step), to: slotMs(this.#first + range.to + 1, this.#step) };
  }

  #moved(range) {
    if (!range || !this.#view || this.#isSettling) return;
    this.#take(range);
    if (this.#isHeld) return;
    if (this.#swipe !== null) return this.#swiped();
    this.#later();
  }

  // While a finger or a button drags the chart, the library counts from the slot where the drag began.
  #hold(event) {
    clearTimeout(this.#swipe);
    this.#swipe = null;
    this.#isHeld = true;
    if (event.pointerType === "touch") this.#swipe = 0;
  }

  #release(event) {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    if (event.pointerType === "touch") this.#swiped();
    else this.#later();
  }

  #swiped() {
    clearTimeout(this.#swipe);
    this.#swipe = setTimeout(() => {
      this.#swipe = null;
      this.#later();
    }, SWIPE_MS);
  }

  #later() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#catchUp();
    });
  }

  #catchUp() {
    if (!this.#view) return;
    const isMoving = this.#isHeld || this.#swipe !== null;
    if (this.#isStale || (!isMoving && this.#mustRebuild())) {
      // Setting the same slots anew does not disturb a drag.
      this.#rebuild(isMoving);
    } else if (this.#changed.size) {
      this.#update();
    }
    this.#changed.clear();
    this.#showLast();
    this.#onView();
  }

  #mustRebuild() {
    const { from, to } = this.#view;
    const wanted = stepFor(this.#intervalMs, this.#width() / (to - from), this.#step);
    if (wanted !== this.#step) return true;
    const slots = windowOf(this.#view, this.#step, this.#extent());
    const near = (NEAR * (to - from)) / this.#step;
    const isShort = (missing, distance) => missing > 0 && distance < near;
    return (
      isShort(this.#first - slots.first, placeOf(from, this.#step) - this.#first) ||
      isShort(slots.end - this.#end, this.#end - placeOf(to, this.#step))
    );
  }

  #extent() {
    const rows = this.#rows();
    const ahead = Math.max(0, ...this.overlay.pending.map((row) => row.target_end_ms));
    return { oldest: rows[0].start_ms, newest: rows[rows.length - 1].start_ms, ahead };
  }

  // Chooses the slots for the view, or with `isFixed` takes the same ones, and gives their bars to the library.
  #rebuild(isFixed = false) {
    const rows = this.#rows();
    this.#isStale = false;
    if (!rows.length || !this.#colors) return;
    const { from, to } = this.#view;
    if (!isFixed || !this.#step) {
      this.#step = stepFor(this.#intervalMs, this.#width() / (to - from), this.#step);
      const slots = windowOf(this.#view, this.#step, this.#extent());
      [this.#first, this.#end] = [slots.first, slots.end];
    }
    const [first, end, step] = [this.#first, this.#end, this.#step];
    this.#bars = barsOf(rows, this.#intervalMs, step, first, end);
    this.#isSettling = true;
    this.#grid.setData(Array.from({ length: end - first }, (_, index) => ({ time: second(slotMs(first + index, step)), value: 0 })));
    this.#series.setData(this.#bars.map((bar) => this.#candle(bar)));
    this.#volume.setData(this.#bars.map((bar) => this.#column(bar)));
    this.#drawOver();
    if (!isFixed) this.#applyView();
    else this.#isSettling = false;
  }

  #drawOver() {
    const { overlay } = this;
    overlay.slots = { step: this.#step, first: this.#first };
    overlay.bars = this.#bars;
    overlay.gaps = gapsOf(this.#rows(), this.#intervalMs, slotMs(this.#first, this.#step), slotMs(this.#end, this.#step));
    overlay.redraw();
  }

  // Replaces the bars of the changed slots. Only at the end the library does so one by one.
  #update() {
    let isLonger = false;
    for (const slot of [...this.#changed].sort((a, b) => a - b)) {
      if (slot < this.#first) continue;
      if (slot >= this.#end) return this.isAtEnd ? this.#rebuild() : undefined;
      const [bar] = barsOf(this.#rows(), this.#intervalMs, this.#step, slot, slot + 1);
      const place = countBefore(this.#bars, slot, (known) => known.slot);
      if (!bar || place < this.#bars.length - 1) return this.#rebuild(true);
      isLonger ||= place === this.#bars.length;
      this.#bars[place] = bar;
      this.#series.update(this.#candle(bar));
      this.#volume.update(this.#column(bar));
    }
    if (isLonger) this.#drawOver();
  }

  // The line of the last price is that of the newest candle, or none.
  #showLast() {
    const isShown = this.isAtEnd;
    if (isShown === this.#series.options().lastValueVisible) return;
    this.#series.applyOptions({ lastValueVisible: isShown, priceLineVisible: isShown });
  }

  #candle(bar) {
    const { open, high, low, close } = bar;
    const candle = { time: second(slotMs(bar.slot, this.#step)), open, high, low, close };
    if (!isThin(bar)) return candle;
    const { least, most } = THIN_OPACITY;
    return { ...candle, color: faded(this.#color(bar), least + (most - least) * bar.coverage) };
  }

  #column(bar) {
    const time = second(slotMs(bar.slot, this.#step));
    const value = this.#hasVolume ? bar.volume : bar.count;
    if (value === undefined) return { time };
    const color = this.#colors[bar.close >= bar.open ? "volume-up" : "volume-down"];
    return { time, value, color: this.#hasVolume && bar.isPartial ? faded(color, PARTIAL_OPACITY) : color };
  }

  #color(bar) {
    return this.#colors[bar.close >= bar.open ? "up" : "down"];
  }

  #hovered({ point, logical }) {
    const isOver = point !== undefined && logical !== undefined && logical !== null;
    this.#onHover(isOver ? slotMs(this.#first + Math.round(logical), this.#step) : null);
  }
}

const OPTIONS = {
  autoSize: true,
  layout: {
    // The notice and the link that its license asks for are at the foot of the page.
    attributionLogo: false,
    fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif',
    fontSize: 12,
    panes: { enableResize: false },
  },
  // Merging of bars and the place of the newest one are decided here, since not all data are in the chart.
  timeScale: {
    timeVisible: true,
    secondsVisible: false,
    minBarSpacing: 0.8,
    enableConflation: true,
    shiftVisibleRangeOnNewBar: false,
    rightBarStaysOnScroll: true,
  },
  rightPriceScale: { minimumWidth: AXIS_PIXELS, scaleMargins: { top: 0.08, bottom: 0.06 } },
  crosshair: { mode: CrosshairMode.Normal },
  // A vertical swipe scrolls the page.
  handleScroll: { vertTouchDrag: false },
  handleScale: { axisDoubleClickReset: { time: false, price: true } },
  localization: { locale: "en-GB", dateFormat: "yyyy-MM-dd" },
};
