// The panel of plots and of the report, which the reporter draws after each training.

import { askPath } from "./api.js";
import { arrowKeys, byId, make } from "./dom.js";

const KINDS = {
  overview: ["Overview", "Actual against predicted values, with the naive baseline and the 90 % interval"],
  candles: ["Candles", "Candles of the data"],
  residuals: ["Residuals", "Errors over time and their distribution"],
  calibration: ["Calibration", "How often each interval held the truth"],
  importance: ["Features", "Importance of each feature"],
  skill: ["Skill", "Skill against the naive baseline over time"],
};

const pathOf = ({ coin, quote, recipe }) => [coin, quote, recipe].map(encodeURIComponent).join("/");

export class Plots {
  #plots = [];
  #shown = { recipe: null, kind: "overview" };

  // Reads which plots of an instrument exist. Returns the one that is shown, if there is one.
  async load({ coin, quote }, isCurrent) {
    const { plots } = await askPath("/plots/index.json");
    if (!isCurrent()) return;
    this.#plots = plots.filter((plot) => plot.coin === coin && plot.quote === quote);
    this.#draw();
  }

  clear() {
    this.#plots = [];
    this.#draw();
  }

  get shown() {
    return this.#plots.find((plot) => plot.recipe === this.#shown.recipe);
  }

  #draw() {
    const plot = this.shown ?? this.#plots[0];
    byId("no-plot").hidden = plot !== undefined;
    byId("plot-body").hidden = plot === undefined;
    if (!plot) return;
    const kind = plot.kinds.includes(this.#shown.kind) ? this.#shown.kind : plot.kinds[0];
    this.#shown = { recipe: plot.recipe, kind };
    const choose = (next) => {
      this.#shown = { ...this.#shown, ...next };
      this.#draw();
    };
    buttons(byId("plot-recipes"), this.#plots.map((each) => [each.recipe, each.recipe]), plot.recipe, (recipe) => choose({ recipe }));
    buttons(byId("plot-kinds"), plot.kinds.map((each) => [each, KINDS[each]?.[0] ?? each]), kind, (each) => choose({ kind: each }));
    const path = `/plots/${pathOf(plot)}/${encodeURIComponent(kind)}`;
    const version = `?v=${encodeURIComponent(plot.version)}`;
    const picture = byId("plot");
    picture.src = `${path}.svg${version}`;
    picture.alt = `${KINDS[kind]?.[1] ?? kind}: ${plot.coin}/${plot.quote}, ${plot.recipe}`;
    byId("plot-svg").href = `${path}.svg${version}`;
    byId("plot-png").href = `${path}.png${version}`;
    byId("plot-report").href = `/report/${pathOf(plot)}.html`;
  }
}

// A row of buttons of which one is pressed; hidden if there is nothing to choose.
export function buttons(row, choices, chosen, choose) {
  row.hidden = choices.length < 2;
  const focused = row.contains(document.activeElement);
  const made = choices.map(([value, text]) =>
    make("button", { type: "button", "aria-pressed": String(value === chosen), "data-value": value, text }),
  );
  for (const button of made) button.addEventListener("click", () => choose(button.dataset.value));
  arrowKeys(made, (button) => button.focus());
  row.replaceChildren(...made);
  if (focused) made.find((button) => button.dataset.value === chosen)?.focus();
}
