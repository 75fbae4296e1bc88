// The page: it connects the chosen instrument, its events, the chart and the panels.

import { candleState, countState, forecastState, modelState, pipelineState, priceState } from "./age.js";
import { ask } from "./api.js";
import { ChartView } from "./chart.js";
import { now } from "./clock.js";
import { atMostEvery, byId, setText } from "./dom.js";
import { HOUR_MS, duration, minute, percent, priceText, whole } from "./format.js";
import { INTERVALS, InstrumentData } from "./instrument_data.js";
import { followKeys } from "./keys.js";
import { Legend } from "./legend.js";
import { LiveEvents } from "./live.js";
import { isPrice, inUse, keyOf, keysOf, showModels } from "./models.js";
import { pageState } from "./page_state.js";
import { clearQuality, showAge, showPipeline, showQuality } from "./panels.js";
import { buttons, Plots } from "./plots.js";
import { nameOf, Switcher } from "./switcher.js";
import { Tables } from "./tables.js";
import { colors, followTheme } from "./theme.js";

// With fewer candles a shorter interval is shown first.
const CANDLES_MIN = 60;
const AVERAGE = "1h-30m";
const AVERAGE_STEP_MAX = HOUR_MS;
const RETRY_MS = 3000;
const SECOND_MS = 1000;
const COUNTS_MS = 5000;
const REFRESH_MS = 1000;
const SCORES_MS = 5000;
const TABLES_MS = 300;
const LABEL_MS = 2000;
// Pages of candles may come faster than they need to be drawn.
const EXTEND_MS = 120;

const shown = {
  data: null,
  interval: null,
  recipe: null,
  pipeline: null,
  stream: "connecting",
  lostMs: 0,
  awayMs: 0,
  heardMs: 0,
  isUnknown: null,
  snapshots: 0,
  hasAverage: true,
};

// ---- the address -------------------------------------------------------------------------------------------------------

// `#coin/quote/interval`; the interval may be missing.
function wanted() {
  const [coin, quote, interval] = location.hash.slice(1).split("/").map(decodeURIComponent);
  return { instrument: coin && quote ? { coin, quote } : null, interval: interval in INTERVALS ? interval : null };
}

const addressOf = ({ coin, quote }, interval) =>
  `#${[coin, quote, ...(interval ? [interval] : [])].map(encodeURIComponent).join("/")}`;

async function follow() {
  const { instrument, interval } = wanted();
  const chosen = instrument ?? (await firstInstrument());
  if (!chosen) return waitForData();
  if (!shown.data || nameOf(shown.data.instrument) !== nameOf(chosen)) begin(chosen);
  await showInterval(shown.data, interval);
}

async function firstInstrument() {
  try {
    return (await ask("instruments", { limit: 1 })).instruments[0];
  } catch {
    return undefined;
  }
}

// Without an instrument, the first price of any tells that there is one.
function waitForData() {
  if (!shown.data && shown.snapshots === 0) live.follow(null);
  note("No data yet. Start the producer and the stream-processor: scripts/run does both.");
}

// ---- the instrument ----------------------------------------------------------------------------------------------------

function begin(instrument) {
  const data = new InstrumentData(instrument);
  Object.assign(shown, { data, interval: null, recipe: null, isUnknown: null, snapshots: 0 });
  switcher.show(instrument);
  setText(byId("chart-title"), nameOf(instrument));
  setText(byId("unit"), instrument.quote.toUpperCase());
  setText(byId("price"), "–");
  byId("change").hidden = true;
  setText(byId("command"), `reporter watch live.price.${instrument.coin}.${instrument.quote}`);
  note("Reading candles…");
  plots.clear();
  clearQuality();
  drawForecasts();
  drawTables();
  live.follow(instrument);
}

const isCurrent = (data) => data === shown.data;

// What is behind the chart may fail without harm: it is read again with the next event of its kind.
function loadPanels(data) {
  quietly(data, data.loadForecasts(), drawForecasts);
  quietly(data, data.loadModels(), drawForecasts);
  quietly(data, data.loadHours(), drawTables);
  if (!data.price) quietly(data, data.loadPrice(), drawPrice);
  quietly(data, data.loadQuality(now()), () => showQuality(data.quality));
  quietly(data, data.load("1h"), () => {
    drawTables();
    drawPrice();
  });
  quietly(data, plots.load(data.instrument, () => isCurrent(data)), () => {});
}

async function quietly(data, work, then) {
  try {
    await work;
  } catch {
    return;
  }
  if (isCurrent(data)) then();
}

// ---- the interval ------------------------------------------------------------------------------------------------------

async function showInterval(data, asked) {
  try {
    const isFirst = shown.interval === null;
    const interval = asked ?? (await bestInterval(data));
    const candles = await data.load(interval);
    if (!isCurrent(data)) return;
    history.replaceState(null, "", addressOf(data.instrument, interval));
    shown.interval = interval;
    markInterval();
    drawCandles(candles, isFirst && !asked);
    if (isFirst) loadPanels(data);
    // Candles between the reading and the first event would be missing.
    if (isFirst && shown.snapshots > 0) refresh();
  } catch (error) {
    if (!isCurrent(data)) return;
    if (error.status === 404) return showUnknown(data.instrument);
    note(`Candles cannot be read: ${error.message}. Trying again…`);
    setTimeout(() => isCurrent(data) && showInterval(data, asked), RETRY_MS);
  }
}

// The longest interval, up to an hour, that fills the chart; else the one with most candles.
async function bestInterval(data) {
  const hourly = await data.load("1h");
  if (hourly.rows.length >= CANDLES_MIN) return "1h";
  const names = ["15m", "5m", "1m", "1d"];
  const histories = await Promise.all(names.map((name) => data.load(name)));
  const counts = [["1h", hourly.rows.length], ...names.map((name, index) => [name, histories[index].rows.length])];
  const enough = counts.find(([, count]) => count >= CANDLES_MIN);
  return (enough ?? counts.reduce((most, each) => (each[1] > most[1] ? each : most)))[0];
}

function showUnknown(instrument) {
  shown.isUnknown = nameOf(instrument);
  chart.show(() => [], HOUR_MS, false);
  note(`There is no instrument ${nameOf(instrument)}. Choose another one above.`);
  drawState();
}

function markInterval() {
  for (const button of document.querySelectorAll("#intervals button")) {
    button.setAttribute("aria-pressed", String(button.dataset.interval === shown.interval));
  }
}

function chooseInterval(interval) {
  if (!shown.data || shown.isUnknown || interval === shown.interval) return;
  location.hash = addressOf(shown.data.instrument, interval);
}

// ---- the chart ---------------------------------------------------------------------------------------------------------

function drawCandles(rows, fit) {
  const { data, interval } = shown;
  chart.setFormat(data.format ?? { plain: 2 });
  const hasVolume = rows.rows.some((row) => row.volume !== undefined);
  chart.setVolume(hasVolume);
  setText(byId("volume-key"), hasVolume ? "volume below" : "ticks of each candle below, since the source gives no volume");
  chart.show(() => data.history(interval).rows, INTERVALS[interval], fit);
  note(rows.rows.length ? "" : `No candles of ${interval}. Bars of the source may be longer: choose a longer interval.`);
  quietly(data, data.load(AVERAGE), drawOver);
  drawOver();
  announce(`${nameOf(data.instrument)}, candles of ${interval}, ${whole(rows.rows.length)} read`);
}

// Draws what lies over the candles.
function drawOver() {
  const { data, interval } = shown;
  if (!data || !interval) return;
  const { overlay } = chart;
  // In bars of several hours, an average of one hour is noise.
  shown.hasAverage = chart.step <= AVERAGE_STEP_MAX;
  overlay.average = shown.hasAverage ? data.history(AVERAGE).rows : [];
  const isShown = (row) => isPrice(row) && keyOf(row) === shown.recipe;
  overlay.pending = data.pending.filter(isShown);
  overlay.scored = data.scored.filter(isShown);
  chart.extend();
}

function viewChanged() {
  const { data, interval } = shown;
  if (!data || !interval || chart.isEmpty) return;
  const { from, to } = chart.view;
  const early = from - (to - from);
  loadOlder(data, data.history(interval), early, extendSoon);
  if (shown.hasAverage) loadOlder(data, data.history(AVERAGE), early, drawOver);
  if (shown.hasAverage !== chart.step <= AVERAGE_STEP_MAX) drawOver();
  data.olderForecasts(early).then((isMore) => isMore && isCurrent(data) && drawOver(), () => {});
  if (tables.shown === "shown") drawTables();
  legend.draw();
  describe();
}

const extendSoon = atMostEvery(EXTEND_MS, () => chart.extend());

// Reads older candles until the time `ms` is reached.
async function loadOlder(data, history, ms, then) {
  try {
    while (isCurrent(data) && history.oldest?.start_ms > ms && (await history.older())) then();
  } catch {
    // The next movement asks again.
  }
}

const note = (words) => {
  byId("chart-note").hidden = !words;
  setText(byId("chart-note"), words);
};

const announce = (words) => setText(byId("announce"), words);

const describe = atMostEvery(LABEL_MS, () => {
  const bars = chart.bars();
  const { data, interval } = shown;
  if (!data || !bars.length) return;
  const last = bars[bars.length - 1];
  const words = `${nameOf(data.instrument)}, ${bars.length} bars of ${chart.step === INTERVALS[interval] ? interval : duration(chart.step)} from ${minute(bars[0].start_ms)} to ${minute(last.end_ms)} UTC, last close ${priceText(data.format, last.close)}`;
  byId("chart").setAttribute("aria-label", words);
});

// ---- price, state, ages ------------------------------------------------------------------------------------------------

function drawPrice() {
  const { data } = shown;
  if (!data?.price) return;
  const { price, before, format } = data;
  const text = priceText(format, price.close);
  setText(byId("price"), text);
  if (before && before.close !== price.close) byId("price").dataset.move = price.close > before.close ? "up" : "down";
  document.title = `${text} ${nameOf(data.instrument)} · candlewire`;
  drawChange(data.change());
}

function drawChange(change) {
  byId("change").hidden = change === null;
  if (change === null) return;
  byId("change").dataset.move = change < 0 ? "down" : "up";
  setText(byId("change-figure"), `${change < 0 ? "▼" : "▲"} ${percent(Math.abs(change), 2)}`);
}

function drawState() {
  const { stream, lostMs, awayMs, pipeline, data, isUnknown } = shown;
  const { state, words } = pageState({ stream, lostMs, awayMs, pipeline, instrument: data?.instrument, isUnknown });
  byId("state").dataset.state = state;
  setText(byId("state-words"), words);
}

function drawAges() {
  const { data, pipeline, interval } = shown;
  const source = pipeline?.source;
  const pollMs = pipeline?.credits?.interval_ms;
  const time = now();
  const age = (id, ms, state) => showAge(id, ms ?? null, ms === undefined || ms === null ? "" : state, time);
  const price = data?.price;
  age("price-age", price?.known_ms, priceState(time - price?.known_ms, { source, pollMs }));
  const candles = (id, window, intervalMs) => {
    const rows = window ? (data?.history(window).rows ?? []) : [];
    const newest = rows.findLast((row) => row.final)?.end_ms;
    age(id, newest, candleState(time - newest, { source, pollMs, intervalMs }));
  };
  candles("chart-age", interval, INTERVALS[interval]);
  const ofTable = tables.window ?? (tables.shown === "shown" ? interval : "1h");
  candles("tables-age", data && ofTable, INTERVALS[ofTable] ?? HOUR_MS);
  drawModelAge(data, source, time, age);
  age("quality-age", data?.qualityMs, countState(time - data?.qualityMs, { source }));
  const heardMs = heardOfPipeline(time);
  age("pipeline-age", heardMs || undefined, pipelineState(time - heardMs));
  const drawn = data?.models.find((model) => model.model === plots.shown?.model);
  age("plots-age", drawn?.valid_from_ms, modelState(time, { source, fromMs: drawn?.valid_from_ms, untilMs: drawn?.expires_ms }));
}

// The state of the pipeline is told when it changes, so it is of now while reporter and NATS are there.
function heardOfPipeline(time) {
  if (shown.stream !== "open") return shown.heardMs;
  return shown.pipeline && !shown.pipeline.connected ? shown.awayMs : time;
}

// The worse of the age of the model and that of its newest forecast.
function drawModelAge(data, source, time, age) {
  const of = (rows) => (rows ?? []).filter((row) => keyOf(row) === shown.recipe);
  const model = inUse(of(data?.models));
  const next = of(data?.pending).at(-1) ?? of(data?.scored).at(-1);
  const states = [];
  if (model) states.push(modelState(time, { source, fromMs: model.valid_from_ms, untilMs: model.expires_ms }));
  if (next) states.push(forecastState(time - next.target_end_ms, { source, intervalMs: INTERVALS[next.interval] ?? HOUR_MS }));
  const worst = ["bad", "warn", "good", "still"].find((state) => states.includes(state));
  age("models-age", next?.made_ms ?? model?.valid_from_ms, worst);
}

// ---- panels ------------------------------------------------------------------------------------------------------------

function drawForecasts() {
  const { data } = shown;
  const keys = keysOf(data);
  if (!keys.includes(shown.recipe)) shown.recipe = keys[0] ?? null;
  const choose = (key) => {
    shown.recipe = key;
    drawForecasts();
  };
  buttons(byId("recipes"), keys.map((key) => [key, key]), shown.recipe, choose);
  showModels(data, shown.recipe, data.format ?? { plain: 2 });
  drawOver();
}

const drawTables = atMostEvery(TABLES_MS, () => tables.draw());

function rowsOfTable(name) {
  const { data } = shown;
  if (!data) return [];
  if (name === "hour_of_day") return data.hours;
  return name === "shown" ? chart.bars() : data.history({ hourly: "1h", daily: "1d", moving_average: AVERAGE }[name]).rows;
}

const again = (load, then) => {
  const data = shown.data;
  if (data) quietly(data, load(data), () => then(data));
};
const loadCounts = atMostEvery(COUNTS_MS, () => shown.interval && again((data) => data.loadQuality(now()), (data) => showQuality(data.quality)));
const loadScores = atMostEvery(SCORES_MS, () => again((data) => data.loadModels(), drawForecasts));
const loadHours = atMostEvery(COUNTS_MS, () => again((data) => data.loadHours(), drawTables));

// ---- events ------------------------------------------------------------------------------------------------------------

function putPipeline(pipeline) {
  const isBack = pipeline.connected && shown.pipeline?.connected === false;
  if (!pipeline.connected && shown.pipeline?.connected !== false) shown.awayMs = now();
  shown.pipeline = pipeline;
  showPipeline(pipeline);
  drawState();
  loadCounts();
  if (isBack) {
    refresh();
    loadPanelsSoon();
  } else if (!shown.data && pipeline.source !== "none") follow();
}

function putCandles(window, rows) {
  const { data, interval } = shown;
  if (!data) return;
  const before = window === interval ? data.history(window).newest : undefined;
  const changed = data.putCandles(window, rows);
  if (!changed.length) return;
  if (window === interval) {
    // The first candle at all.
    if (chart.isEmpty || !before) drawCandles(data.history(interval), true);
    else chart.put(changed, before);
  }
  if (window === AVERAGE) drawOver();
  if (window === tables.window) drawTables();
}

// Reads again what events may not have told.
function refresh() {
  const { data } = shown;
  if (!data) return follow();
  // Nothing was read yet.
  if (!shown.interval) return;
  const isFollowed = chart.isAtEnd;
  quietly(data, data.refresh(), () => {
    if (isFollowed) chart.toEnd();
    chart.refresh();
    drawTables();
    drawPrice();
  });
  quietly(data, data.loadForecasts(), drawForecasts);
}
// While a recording is replayed at full speed, a snapshot comes every second.
const refreshSoon = atMostEvery(REFRESH_MS, refresh);
const loadPanelsSoon = atMostEvery(COUNTS_MS, () => shown.data && loadPanels(shown.data));

// The first price of an instrument that had none.
function comeAlive() {
  shown.isUnknown = null;
  drawState();
  follow();
}

const handlers = {
  snapshot(snapshot) {
    shown.snapshots += 1;
    putPipeline(snapshot.pipeline);
    const { data } = shown;
    if (!data) return snapshot.prices?.length ? follow() : undefined;
    data.interrupt();
    if (snapshot.price && data.putPrice(snapshot.price)) drawPrice();
    for (const [window, rows] of Object.entries(snapshot.candles ?? {})) putCandles(window, rows);
    if (shown.snapshots === 1) return refresh();
    refreshSoon();
    loadPanelsSoon();
  },
  price(row) {
    const { data } = shown;
    if (!data) return comeAlive();
    if (nameOf(row) !== nameOf(data.instrument)) return;
    if (shown.isUnknown) comeAlive();
    if (data.putPrice(row)) drawPrice();
  },
  candle({ window, candles }) {
    putCandles(window, candles);
    loadCounts();
  },
  open(row) {
    putCandles(row.window, [row]);
  },
  forecast(row) {
    shown.data?.putForecast(row);
    drawForecastsSoon();
  },
  score(row) {
    shown.data?.putScore(row);
    drawForecastsSoon();
    loadScores();
  },
  model() {
    loadScores();
    loadPlots();
  },
  hour: loadHours,
  pipeline: putPipeline,
};

const drawForecastsSoon = atMostEvery(TABLES_MS, () => shown.data && drawForecasts());
// A plot is drawn some time after its training.
const loadPlots = atMostEvery(4 * SCORES_MS, () => again((data) => plots.load(data.instrument, () => isCurrent(data)), () => {}));

function heard(work) {
  return (event) => {
    shown.heardMs = now();
    work(event);
  };
}

function streamChanged(stream) {
  const isAway = stream !== "open";
  if (isAway && (shown.stream === "open" || shown.stream === "connecting")) shown.lostMs = now();
  // When all streams of events are in use, the rest of the page works.
  if (isAway && !shown.pipeline) ask("pipeline").then(putPipeline, () => {});
  shown.stream = stream;
  if (stream === "open") shown.heardMs = now();
  drawState();
}

// ---- the parts ---------------------------------------------------------------------------------------------------------

const live = new LiveEvents(Object.fromEntries(Object.entries(handlers).map(([name, work]) => [name, heard(work)])), streamChanged);
const chart = new ChartView(byId("chart-box"), { onHover: (ms) => legend.hover(ms), onView: viewChanged });
const legend = new Legend(chart, () => shown);
const switcher = new Switcher((instrument) => {
  location.hash = addressOf(instrument, shown.interval);
});
const plots = new Plots();
const tables = new Tables(rowsOfTable, (window) => {
  const { data } = shown;
  if (data && window) quietly(data, data.load(window), drawTables);
});

followTheme(() => chart.setColors(colors()));
chart.setColors(colors());
followKeys(chart, { choose: chooseInterval, focus: () => switcher.focus() });

for (const button of document.querySelectorAll("#intervals button")) {
  button.addEventListener("click", () => chooseInterval(button.dataset.interval));
}
for (const box of document.querySelectorAll("#overlays input")) {
  box.addEventListener("change", () => {
    chart.overlay.shown[box.value] = box.checked;
    chart.extend();
  });
}
byId("newest").addEventListener("click", () => chart.toEnd());
addEventListener("hashchange", () => {
  // A link within the page is no instrument.
  if (shown.data && !location.hash.includes("/")) history.replaceState(null, "", addressOf(shown.data.instrument, shown.interval));
  else follow();
});
setInterval(drawAges, SECOND_MS);
drawState();
follow();
