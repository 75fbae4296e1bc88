// The panel of models and forecasts: does the model beat the naive baseline, how often do its bands hold the truth, and which
// models were used before.

import { byId, facts, make, makeSvg, setText } from "./dom.js";
import { minute, percent, priceText, rough, whole } from "./format.js";

const HISTORY_MAX = 8;
const TRUTHS = 60;
const LEAST_P = 0.001;

export const keyOf = ({ recipe, interval }) => `${recipe} ${interval}`;

// The recipe whose forecasts are prices, and not the size of a movement.
export const isPrice = ({ recipe }) => recipe !== "volatility";

// The model in use: the newest that was not rejected.
export const inUse = (models) => models.find((model) => model.role !== "rejected");

const skillText = ({ skill, p }) => {
  const words = skill === undefined ? "skill not known" : `skill ${skill.toFixed(4).replace("-", "−")}`;
  if (p === undefined) return words;
  return `${words}, p ${p < LEAST_P ? `< ${LEAST_P}` : `= ${p.toFixed(3)}`}`;
};

// Formats a prediction. That of `volatility` is log(high ÷ low), which is shown as a range in percent.
const valueText = (row, format) => (value) => (isPrice(row) ? priceText(format, value) : percent(Math.expm1(value), 2));

// All keys that have a model or a forecast, those of prices first.
export function keysOf({ models, live, pending, scored }) {
  const rows = [...models, ...live, ...pending, ...scored];
  const keys = [...new Set(rows.sort((a, b) => isPrice(b) - isPrice(a)).map(keyOf))];
  return keys;
}

// Shows one recipe. `data` has models newest first, live scores, pending and scored forecasts.
export function showModels(data, key, format) {
  const of = (rows) => rows.filter((row) => keyOf(row) === key);
  const [models, [live], pending, scored] = [of(data.models), of(data.live), of(data.pending), of(data.scored)];
  byId("no-models").hidden = models.length + pending.length + scored.length > 0;
  byId("models-body").hidden = !byId("no-models").hidden;
  showVerdict(inUse(models), live);
  showNext(pending[pending.length - 1], format);
  showCalibration(live?.coverage ?? []);
  showTruths(scored.slice(-TRUTHS), format);
  showHistory(models);
}

function showVerdict(model, live) {
  const verdict = byId("verdict");
  const answer = model ? (model.beats_baseline ? "yes" : "no") : "not known yet";
  verdict.dataset.state = model ? (model.beats_baseline ? "good" : "warn") : "";
  verdict.replaceChildren("Beats the naive baseline: ", make("strong", { text: answer }));
  const sentences = [];
  if (model) sentences.push(`On ${whole(model.scores.rows)} rows that it had not seen: ${skillText(model.scores)}.`);
  if (live) sentences.push(`Live, ${whole(live.scored)} forecasts are scored: ${skillText(live)}.`);
  setText(byId("verdict-words"), sentences.join(" ") || "No model is in use.");
}

function showNext(row, format) {
  byId("next").hidden = !row;
  if (!row) return;
  const text = valueText(row, format);
  const band = (level) => row.bands.find((band) => Math.abs(band.level - level) < 1e-9);
  const pairs = [[isPrice(row) ? "next close" : "next range", text(row.prediction), ""], ["naive baseline", text(row.baseline), ""]];
  for (const level of [0.5, 0.9]) {
    if (band(level)) pairs.push([`${percent(level, 0)} band`, `${text(band(level).lower)} – ${text(band(level).upper)}`, ""]);
  }
  pairs.push(["until", `${minute(row.target_end_ms)} UTC`, ""]);
  if (row.status === "unlike-training") pairs.push(["caution", "unlike the training data", "warn"]);
  byId("next").replaceChildren(...facts(pairs));
}

// ---- calibration -------------------------------------------------------------------------------------------------------

const SIDE = 180;
const MARGIN = { left: 34, bottom: 26, top: 10, right: 18 };
const LEAST = 0.4;

function showCalibration(levels) {
  const known = levels.filter(({ of }) => of > 0);
  byId("calibration").hidden = known.length === 0;
  if (!known.length) return;
  const x = (share) => MARGIN.left + ((share - LEAST) / (1 - LEAST)) * (SIDE - MARGIN.left - MARGIN.right);
  const y = (share) => SIDE - MARGIN.bottom - ((Math.max(LEAST, share) - LEAST) / (1 - LEAST)) * (SIDE - MARGIN.bottom - MARGIN.top);
  const parts = [];
  for (const share of [0.4, 0.6, 0.8, 1]) {
    parts.push(makeSvg("path", { class: "grid", d: `M${x(share)} ${y(LEAST)}V${y(1)}M${x(LEAST)} ${y(share)}H${x(1)}` }));
    parts.push(makeSvg("text", { x: x(share), y: SIDE - 10, "text-anchor": "middle", text: percent(share, 0).replace(" ", "") }));
    parts.push(makeSvg("text", { x: MARGIN.left - 5, y: y(share) + 4, "text-anchor": "end", text: percent(share, 0).replace(" ", "") }));
  }
  parts.push(makeSvg("path", { class: "ideal", d: `M${x(LEAST)} ${y(LEAST)}L${x(1)} ${y(1)}` }));
  const points = known.map(({ level, inside, of }) => [x(level), y(inside / of)]);
  parts.push(makeSvg("path", { class: "curve", d: `M${points.map((point) => point.join(" ")).join("L")}` }));
  parts.push(...points.map(([cx, cy]) => makeSvg("circle", { class: "point", cx, cy, r: 3.5 })));
  const words = known.map(({ level, inside, of }) => `${percent(level, 0)} band: ${percent(inside / of, 1)} of ${whole(of)}`);
  const svg = byId("calibration-svg");
  svg.setAttribute("aria-label", `Calibration. ${words.join("; ")}.`);
  svg.replaceChildren(...parts);
  byId("calibration-words").replaceChildren(...words.map((text) => make("li", { text })));
}

// ---- forecasts against truth -------------------------------------------------------------------------------------------

// The picture is stretched to the room that it has; times are below it.
const WIDE = { width: 400, height: 160, margin: 8 };

function showTruths(rows, format) {
  byId("truths").hidden = rows.length < 2;
  if (rows.length < 2) return;
  const bands = rows.map((row) => row.bands.find((band) => Math.abs(band.level - 0.9) < 1e-9));
  const values = rows.flatMap((row, index) => [row.prediction, row.actual, bands[index]?.lower, bands[index]?.upper]).filter((value) => value !== undefined);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (index) => (WIDE.margin + (index / (rows.length - 1)) * (WIDE.width - 2 * WIDE.margin)).toFixed(1);
  const y = (value) => (WIDE.height - WIDE.margin - (high > low ? (value - low) / (high - low) : 0.5) * (WIDE.height - 2 * WIDE.margin)).toFixed(1);
  const line = (name, of) => makeSvg("path", { class: name, d: `M${rows.map((row, index) => `${x(index)} ${y(of(row))}`).join("L")}` });
  const parts = [...bandShapes(bands, x, y)];
  parts.push(line("truth", (row) => row.actual), line("predicted", (row) => row.prediction));
  const misses = rows.flatMap((row, index) => (row.inside === false ? [makeSvg("path", { class: "miss", d: `M${x(index)} ${y(row.actual)}h0.01` })] : []));
  setText(byId("truths-from"), minute(rows[0].target_end_ms));
  setText(byId("truths-to"), minute(rows[rows.length - 1].target_end_ms));
  const svg = byId("truths-svg");
  const text = valueText(rows[0], format);
  const inside = rows.filter((row) => row.inside).length;
  svg.setAttribute("aria-label", `The last ${rows.length} forecasts against the truth, between ${text(low)} and ${text(high)}; ${inside} truths inside the 90 % band.`);
  svg.replaceChildren(...parts, ...misses);
  setText(byId("truths-words"), `last ${rows.length} forecasts, ${text(low)} to ${text(high)}; ${inside} inside the 90 % band`);
}

// The band as one shape for each stretch of forecasts that have one.
function* bandShapes(bands, x, y) {
  let stretch = [];
  for (let index = 0; index <= bands.length; index += 1) {
    if (bands[index]) stretch.push(index);
    else if (stretch.length) {
      const upper = stretch.map((each) => `${x(each)} ${y(bands[each].upper)}`);
      const lower = stretch.map((each) => `${x(each)} ${y(bands[each].lower)}`).reverse();
      yield makeSvg("path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` });
      stretch = [];
    }
  }
}

// ---- champion history --------------------------------------------------------------------------------------------------

const ROLES = { champion: "good", candidate: "", rejected: "quiet" };

function showHistory(models) {
  byId("model-history").hidden = models.length === 0;
  byId("model-rows").replaceChildren(...models.slice(0, HISTORY_MAX).map((model) =>
    make(
      "tr",
      {},
      make("th", { scope: "row", text: minute(model.valid_from_ms) }),
      make("td", { text: model.role, "data-state": ROLES[model.role] || undefined }),
      make("td", { text: model.cause }),
      make("td", { text: skillText(model.scores) }),
      make("td", { text: `${rough(model.scores.rmse)} / ${rough(model.scores.baseline_rmse)}` }),
      make("td", { class: "id", text: model.model }),
    ),
  ));
}
