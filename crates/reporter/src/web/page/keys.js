// The keyboard: one key for each movement, unless a field has the focus.

import { INTERVALS } from "./instrument_data.js";

export function followKeys(chart, { choose, focus }) {
  const works = {
    ArrowLeft: () => chart.pan(-1),
    ArrowRight: () => chart.pan(1),
    "+": () => chart.zoom(1),
    "=": () => chart.zoom(1),
    "-": () => chart.zoom(-1),
    Home: () => chart.toStart(),
    End: () => chart.toEnd(),
    "/": focus,
  };
  Object.keys(INTERVALS).forEach((interval, index) => {
    works[String(index + 1)] = () => choose(interval);
  });
  addEventListener("keydown", (event) => {
    const work = works[event.key];
    if (!work || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTaken(event)) return;
    event.preventDefault();
    work();
  });
}

// Fields take all keys; what scrolls and what has its own arrows takes those that move.
function isTaken({ target, key }) {
  if (target.closest("input:not([type=checkbox]), select, textarea")) return true;
  return /^(Arrow|Home|End)/.test(key) && target.closest(".scroll, [role=tablist], .choices") !== null;
}
