// The panels of the pipeline and of the quality of its data.

import { byId, facts, make, setText } from "./dom.js";
import { duration, minute, percent, rough, whole } from "./format.js";

const GAPS_MAX = 8;
const SOURCES = {
  live: ["live", "good"],
  replaying: ["replaying a recording", "good"],
  finished: ["recording finished", "good"],
  silent: ["silent", "bad"],
  none: ["no price yet", ""],
};

export function showPipeline(pipeline) {
  const [words, state] = SOURCES[pipeline.source] ?? [pipeline.source, ""];
  const pairs = [
    ["NATS", pipeline.connected ? "connected" : "away", pipeline.connected ? "good" : "bad"],
    ["source", words, state],
    ["prices", `${rough(pipeline.rate_per_s)} a second`, ""],
  ];
  if (pipeline.newest_event_ms !== undefined) pairs.push(["newest price", `${minute(pipeline.newest_event_ms)} UTC`, ""]);
  byId("pipeline-facts").replaceChildren(...facts(pairs));
  byId("steps").replaceChildren(...pipeline.steps.map(stepRow));
  byId("steps-table").hidden = pipeline.steps.length === 0;
  showCredits(pipeline.credits);
}

function stepRow(step) {
  const lag = step.behind === 0 ? "up to date" : `${whole(step.behind)} behind`;
  const words = step.has_begun || step.behind === 0 ? lag : `not begun, ${whole(step.behind)} wait`;
  return make(
    "tr",
    {},
    make("th", { scope: "row", text: step.service }),
    make("td", { text: words, "data-state": step.behind ? "warn" : "good" }),
    make("td", { text: whole(step.instances), "data-state": step.instances ? undefined : "warn" }),
  );
}

function showCredits(credits) {
  byId("credits").hidden = credits === undefined;
  if (!credits) return;
  const share = credits.budget ? credits.left / credits.budget : 0;
  const every = credits.interval_ms === undefined ? "" : `, a price every ${duration(credits.interval_ms)}`;
  setText(byId("credits-words"), `${whole(credits.left)} of ${whole(credits.budget)} left this month (${credits.plan})${every}`);
  const meter = byId("credits-meter");
  meter.value = share;
  meter.textContent = percent(share, 0);
}

export function showQuality(quality) {
  const rejected = Object.values(quality.rejected).reduce((sum, count) => sum + count, 0);
  const marked = (count) => [whole(count), count ? "warn" : ""];
  const pairs = [["accepted", whole(quality.accepted), ""], ["filled afterwards", whole(quality.filled), ""]];
  pairs.push(["duplicates", whole(quality.duplicates), ""], ["late", ...marked(quality.late)], ["rejected", ...marked(rejected)]);
  pairs.push(["1-minute candles", whole(quality.candles), ""]);
  byId("quality-facts").replaceChildren(...facts(pairs));
  const reasons = Object.entries(quality.rejected).filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
  byId("reasons").hidden = reasons.length === 0;
  byId("reasons-rows").replaceChildren(...reasons.map(([reason, count]) =>
    make("tr", {}, make("th", { scope: "row", text: reason }), make("td", { text: whole(count) })),
  ));
  showCoverage(quality);
}

// Of an instrument of which nothing was read yet.
export function clearQuality() {
  setText(byId("coverage-words"), "Not known yet");
  byId("coverage-meter").hidden = true;
  byId("no-gaps").hidden = false;
  byId("gaps").replaceChildren();
  setText(byId("more-gaps"), "");
}

function showCoverage({ coverage_24h: coverage, gaps }) {
  const words = coverage === undefined ? "Coverage of the last 24 hours is not known" : `${percent(coverage, 1)} of the last 24 hours covered`;
  setText(byId("coverage-words"), words);
  byId("coverage-meter").value = coverage ?? 0;
  byId("coverage-meter").hidden = coverage === undefined;
  byId("no-gaps").hidden = gaps.length > 0;
  byId("gaps").replaceChildren(...gaps.slice(0, GAPS_MAX).map((gap) =>
    make("li", {}, `${minute(gap.from_ms)} UTC, ${duration(gap.to_ms - gap.from_ms)}`, make("span", { class: "quiet", text: ` · ${gap.cause}` })),
  ));
  const more = gaps.length - GAPS_MAX;
  setText(byId("more-gaps"), more > 0 ? `and ${more} earlier` : "");
}

// Shows when the data of a panel are from: their age, or their time where age is no fault. Without a time, nothing.
export function showAge(id, ms, state, nowMs) {
  const element = byId(id);
  element.dataset.state = state;
  if (ms === null) return setText(element, "");
  if (state === "still") return setText(element, `to ${minute(ms)} UTC`);
  setText(element, nowMs - ms < 1000 ? "now" : `${duration(nowMs - ms)} ago`);
}
