// Updates the page. Data from the server is inserted as text, never as markup.
"use strict";

const LIVE_MS = 1000;
const TABLES_MS_MIN = 2000;
const ANSWER_MS_MAX = 5000;
const HOUR_MS = 3600000;

const byId = (id) => document.getElementById(id);
const shown = { instrument: "", version: -1, table: "hourly", tables: null, tablesAt: 0, plot: null, names: "" };

// ---- numbers and times -------------------------------------------------------------------------------------------

const fixed = (value, decimals) =>
  value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
// The reporter chooses one price format per column: { plain: decimals } or { exponential: decimals }.
const written = (format, price) =>
  "exponential" in format ? price.toExponential(format.exponential) : fixed(price, format.plain);
const whole = (value) => value.toLocaleString("en-US");
const rough = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: value >= 10000 ? 21 : 4, maximumFractionDigits: 8 });
const two = (value) => String(value).padStart(2, "0");
const day = (ms) => new Date(ms).toISOString().slice(0, 10);
const minute = (ms) => new Date(ms).toISOString().slice(0, 16).replace("T", " ");

function age(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  if (s < 63072000) return `${Math.floor(s / 86400)} days`;
  return `${Math.floor(s / 31536000)} years`;
}

// ---- the selected instrument ---------------------------------------------------------------------------------------

const chosen = () => decodeURIComponent(location.hash.slice(1));

function query() {
  const [coin, quote] = chosen().split("/");
  return coin && quote ? `?coin=${encodeURIComponent(coin)}&quote=${encodeURIComponent(quote)}` : "";
}

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS_MAX), cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// ---- price, state, pipeline --------------------------------------------------------------------------------------

function showState(state, words) {
  byId("state").dataset.state = state;
  if (byId("state").textContent !== words) byId("state").textContent = words;
}

function showLive(live) {
  showInstruments(live);
  const quote = (live.instrument || "").split("/")[1] || "";
  byId("instrument").textContent = live.instrument || (chosen() ? `No data of ${chosen()} yet` : "No instrument yet");
  byId("unit").textContent = live.price ? quote : "";
  byId("price").textContent = live.price ? written(live.price.format, live.price.close) : "–";
  if (live.price) {
    byId("priced").textContent = `${minute(live.price.event_ms)} UTC, ${age(live.price.age_ms)} ago`;
    document.title = `${byId("price").textContent} ${live.instrument} · candlewire`;
  }
  showPlot(live.plot);
  showFacts(live);
  showPipelineState(live);
}

function showPipelineState(live) {
  const health = live.health;
  const behind = Math.max(0, ...health.steps.map((step) => step.behind));
  if (!health.connected) showState("bad", live.instruments.length ? "NATS is unreachable: showing the last known state" : "waiting for NATS");
  else if (!live.price) showState("wait", "connected, no data yet");
  else if (behind > 0) showState("warn", `catching up: ${whole(behind)} messages`);
  else if (!live.is_moving) showState("good", "up to date; no live source");
  else showState("good", live.price.age_ms > HOUR_MS ? "replaying a recording" : "live");
}

function showInstruments(live) {
  const names = live.instruments.join(" ");
  if (names === shown.names) return;
  shown.names = names;
  const options = live.instruments.map((name) => new Option(name, name, false, name === live.instrument));
  byId("instruments").replaceChildren(...options);
  byId("pick").hidden = options.length < 2;
}

function showFacts(live) {
  const health = live.health;
  const facts = [["NATS", health.connected ? "connected" : "away", health.connected ? "" : "bad"]];
  for (const step of health.steps) {
    const words = step.behind === 0 ? "up to date" : `${whole(step.behind)} messages behind`;
    facts.push([step.service, step.has_begun || step.behind === 0 ? words : "has not begun", step.behind ? "warn" : ""]);
  }
  // Before the first read of the steps the counts are unknown, which differs from zero.
  if (health.steps.length) {
    facts.push(["ticks accepted", whole(health.accepted), ""]);
    // Few sources fetch ticks afterwards.
    if (health.filled) facts.push(["of them filled", whole(health.filled), ""]);
    facts.push(["1-minute candles", whole(health.candles), ""]);
    facts.push(["late", whole(health.late), health.late ? "warn" : ""]);
    facts.push(["rejected", whole(health.rejected), health.rejected ? "warn" : ""]);
    facts.push(["duplicates", whole(health.duplicate), ""]);
  }
  byId("facts").replaceChildren(...facts.map(([name, value, state]) => {
    const pair = document.createElement("div");
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    dd.dataset.state = state;
    pair.append(dt, dd);
    return pair;
  }));
  byId("follow").hidden = !live.subject;
  byId("command").textContent = live.subject ? `reporter watch ${live.subject}` : "";
}

function showPlot(version) {
  if (version === shown.plot) return;
  shown.plot = version;
  byId("no-plot").hidden = version !== null;
  byId("plot-link").hidden = version === null;
  if (version !== null) byId("plot").src = `/plot.png?v=${version}`;
}

// ---- tables ------------------------------------------------------------------------------------------------------

const EXPLAIN = {
  hourly: "Calendar hours.",
  daily: "UTC days.",
  moving_average: "One hour, every 30 minutes. Hourly bars fill only those that begin on the hour.",
  hour_of_day: "Closes at each UTC hour, over all days.",
};

const CANDLE_HEADINGS = ["open", "high", "low", "close", "average", "volume", "ticks", "coverage"];

function showTables() {
  const tables = shown.tables;
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const is = tab.dataset.table === shown.table;
    tab.setAttribute("aria-selected", String(is));
    tab.tabIndex = is ? 0 : -1;
    if (is) byId("panel").setAttribute("aria-labelledby", tab.id);
  }
  byId("explain").textContent = EXPLAIN[shown.table];
  if (!tables) return fill(["start"], [], "No rows yet: the first window has not closed.");
  if (shown.table === "hour_of_day") return showHours(tables.hour_of_day);
  showCandles(tables[shown.table], shown.table === "daily" ? day : minute);
}

// If only some ticks have a volume, their sum is a lower bound.
function volumeOf(row) {
  if (row.volume === null) return "";
  const volume = rough(row.volume);
  return row.volume_count === undefined ? volume : `≥ ${volume} (${whole(row.volume_count)} of ${whole(row.count)})`;
}

// Only sources of trades know the value traded. Without it the two columns would be empty.
function tradedOf(table, row) {
  return [
    row.quote_volume === undefined ? "" : rough(row.quote_volume),
    row.vwap === undefined ? "" : written(table.format, row.vwap),
  ];
}

function showCandles(table, time) {
  const hasTraded = table.rows.some((row) => row.quote_volume !== undefined);
  const rows = table.rows.map((row) => [
    time(row.start_ms) + (row.revision > 1 ? ` (revision ${row.revision})` : ""),
    ...[row.open, row.high, row.low, row.close, row.average].map((price) => written(table.format, price)),
    volumeOf(row),
    whole(row.count) + (row.filled === undefined ? "" : ` (${whole(row.filled)} filled)`),
    `${fixed(row.coverage * 100, row.coverage === 1 ? 0 : 1)} %`,
    ...(hasTraded ? tradedOf(table, row) : []),
  ]);
  const why = "No rows yet: no window of this length has closed that holds all of a bar.";
  const isPart = (row, column) =>
    (column === 6 && table.rows[row].volume_count !== undefined) ||
    (column === 7 && table.rows[row].filled !== undefined) ||
    (column === 8 && table.rows[row].coverage < 1);
  fill(["start", ...CANDLE_HEADINGS, ...(hasTraded ? ["quote volume", "vwap"] : [])], rows, why, isPart);
}

function showHours(table) {
  const rows = table.rows.map((hour) => [
    `${two(hour.hour)}:00`,
    ...[hour.average, hour.min, hour.max].map((price) => written(table.format, price)),
    whole(hour.count),
  ]);
  fill(["hour", "average", "min", "max", "ticks"], rows, "No rows yet: the first hour has not closed.");
}

function fill(headings, rows, why, isPart = () => false) {
  const cell = (kind, text) => {
    const element = document.createElement(kind);
    element.textContent = text;
    return element;
  };
  const head = document.createElement("tr");
  head.append(...headings.map((heading) => Object.assign(cell("th", heading), { scope: "col" })));
  byId("columns").replaceChildren(head);
  const body = rows.map((row, index) => {
    const tr = document.createElement("tr");
    tr.append(...row.map((text, column) => {
      const td = cell("td", text);
      if (isPart(index, column)) td.className = "part";
      return td;
    }));
    return tr;
  });
  if (!body.length) {
    const none = Object.assign(cell("td", why), { className: "none", colSpan: headings.length });
    const tr = document.createElement("tr");
    tr.append(none);
    body.push(tr);
    byId("columns").replaceChildren();
  }
  byId("rows").replaceChildren(...body);
}

// ---- the chart ---------------------------------------------------------------------------------------------------

const CHART = { width: 600, height: 140, top: 8, bottom: 132 };

function showChart(chart) {
  const points = chart.pieces.flat();
  byId("chart").hidden = points.length < 2;
  byId("change").hidden = points.length < 2;
  if (points.length < 2) return;
  const closes = points.map((point) => point.close);
  const [low, high] = [Math.min(...closes), Math.max(...closes)];
  const [first, last] = [points[0].end_ms, points[points.length - 1].end_ms];
  const x = (point) => (((point.end_ms - first) / (last - first)) * CHART.width).toFixed(1);
  const share = (point) => (high > low ? (point.close - low) / (high - low) : 0.5);
  const y = (point) => (CHART.bottom - share(point) * (CHART.bottom - CHART.top)).toFixed(1);
  byId("line").replaceChildren(...chart.pieces.flatMap((piece) => pathsOf(piece, x, y)));
  byId("from").textContent = minute(first);
  byId("range").textContent = `hourly closes, ${written(chart.format, low)} to ${written(chart.format, high)}`;
  byId("to").textContent = minute(last);
  showChange(points, last);
}

// The line of consecutive hours and the area below it. A single hour is a dot: a line of length 0.
function pathsOf(piece, x, y) {
  const path = (shape, name) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
    element.setAttribute("d", shape);
    element.setAttribute("class", name);
    return element;
  };
  const [first, last] = [piece[0], piece[piece.length - 1]];
  const line = piece.map((point) => `L${x(point)} ${y(point)}`).join("");
  const area = `M${x(first)} ${CHART.height}${line}L${x(last)} ${CHART.height}Z`;
  return [path(area, "area"), path(`M${x(first)} ${y(first)}${line}`, piece.length > 1 ? "line" : "dot")];
}

function showChange(points, last) {
  const before = points.find((point) => point.end_ms === last - 24 * HOUR_MS);
  byId("change").hidden = !before;
  if (!before) return;
  const percent = (points[points.length - 1].close / before.close - 1) * 100;
  const bold = document.createElement("b");
  bold.textContent = `${percent < 0 ? "▼" : "▲"} ${fixed(Math.abs(percent), 2)} %`;
  byId("change").replaceChildren(bold, " in 24 hours");
}

// ---- the loop ----------------------------------------------------------------------------------------------------

async function refreshTables(live) {
  const isOther = live.instrument !== shown.instrument;
  const isNewer = live.version !== shown.version && Date.now() - shown.tablesAt >= TABLES_MS_MIN;
  if (!isOther && !isNewer) return;
  shown.tables = live.instrument ? await ask(`/tables.json${query()}`) : null;
  shown.instrument = live.instrument;
  shown.version = shown.tables ? shown.tables.version : live.version;
  shown.tablesAt = Date.now();
  showTables();
  showChart(shown.tables ? shown.tables.chart : { pieces: [] });
}

async function refresh() {
  try {
    const live = await ask(`/live.json${query()}`);
    showLive(live);
    await refreshTables(live);
  } catch {
    showState("bad", "the reporter does not answer: showing the last known state");
  }
}

async function run() {
  await refresh();
  setTimeout(run, LIVE_MS);
}

byId("instruments").addEventListener("change", (event) => { location.hash = event.target.value; });
addEventListener("hashchange", refresh);

const tabs = [...document.querySelectorAll("[role=tab]")];
function choose(tab) {
  shown.table = tab.dataset.table;
  showTables();
}
tabs.forEach((tab, index) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(index + step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
});

showTables();
run();
