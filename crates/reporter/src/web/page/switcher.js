// The instrument switcher: a combobox whose list the reporter searches, so that it works with a thousand instruments.

import { ask } from "./api.js";
import { byId, make } from "./dom.js";
import { percent, priceFormat, priceText } from "./format.js";

const LIST_MAX = 50;
const TYPING_MS = 120;

export const nameOf = ({ coin, quote }) => `${coin}/${quote}`;

export class Switcher {
  #input = byId("instrument");
  #list = byId("instruments");
  #choose;
  #chosen = "";
  #options = [];
  #active = -1;
  #timer = null;
  #question = 0;

  // `choose` gets the instrument that the user picks.
  constructor(choose) {
    this.#choose = choose;
    const input = this.#input;
    input.addEventListener("focus", () => {
      input.select();
      this.#search("");
    });
    input.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#search(input.value.trim()), TYPING_MS);
    });
    input.addEventListener("keydown", (event) => this.#key(event));
    input.addEventListener("blur", () => this.#close());
    // Before the field loses the focus.
    this.#list.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const option = event.target.closest("[role=option]");
      if (option) this.#pick(Number(option.dataset.index));
    });
  }

  show(instrument) {
    this.#chosen = instrument ? nameOf(instrument) : "";
    if (document.activeElement !== this.#input) this.#input.value = this.#chosen;
  }

  focus() {
    this.#input.focus();
  }

  async #search(text) {
    this.#question += 1;
    const question = this.#question;
    try {
      const { instruments } = await ask("instruments", { limit: LIST_MAX, search: text || undefined });
      // The answer to an older question may come late.
      if (question !== this.#question || document.activeElement !== this.#input) return;
      this.#fill(instruments, text);
    } catch (error) {
      if (question === this.#question) this.#say(error.message);
    }
  }

  #fill(instruments, text) {
    this.#options = instruments;
    this.#active = instruments.findIndex((each) => nameOf(each) === this.#chosen);
    if (text || this.#active < 0) this.#active = instruments.length ? 0 : -1;
    if (!instruments.length) return this.#say(text ? `No instrument contains “${text}”` : "No instrument yet");
    this.#list.replaceChildren(...instruments.map(option));
    if (instruments.length === LIST_MAX) this.#list.append(noteOf("Type to search for more"));
    this.#open();
  }

  #say(words) {
    this.#options = [];
    this.#active = -1;
    this.#list.replaceChildren(noteOf(words));
    this.#open();
  }

  #open() {
    this.#list.hidden = false;
    this.#input.setAttribute("aria-expanded", "true");
    this.#mark();
  }

  #close() {
    clearTimeout(this.#timer);
    this.#question += 1;
    this.#list.hidden = true;
    this.#input.setAttribute("aria-expanded", "false");
    this.#input.removeAttribute("aria-activedescendant");
    this.#input.value = this.#chosen;
  }

  #mark() {
    [...this.#list.children].forEach((item, index) => {
      if (!this.#options.length) return;
      item.setAttribute("aria-selected", String(index === this.#active));
      if (index !== this.#active) return;
      this.#input.setAttribute("aria-activedescendant", item.id);
      item.scrollIntoView({ block: "nearest" });
    });
  }

  #key(event) {
    const last = this.#options.length - 1;
    if (event.key === "Escape") this.#input.blur();
    else if (event.key === "Enter" && this.#active >= 0) this.#pick(this.#active);
    else if (event.key === "ArrowDown") this.#active = this.#active >= last ? 0 : this.#active + 1;
    else if (event.key === "ArrowUp") this.#active = this.#active <= 0 ? last : this.#active - 1;
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (!this.#list.hidden && this.#options.length) this.#mark();
  }

  #pick(index) {
    const instrument = this.#options[index];
    if (!instrument) return;
    this.#chosen = nameOf(instrument);
    this.#input.blur();
    this.#choose(instrument);
  }
}

const noteOf = (text) => make("li", { class: "note", role: "option", "aria-disabled": "true", "aria-selected": "false", text });

function option(instrument, index) {
  const { price, change_24h: change } = instrument;
  const texts = [make("span", { text: nameOf(instrument) })];
  if (price) texts.push(make("span", { class: "figure", text: priceText(priceFormat([price.close]), price.close) }));
  if (change !== undefined) {
    texts.push(make("span", { class: `figure ${change < 0 ? "down" : "up"}`, text: `${change < 0 ? "▼" : "▲"} ${percent(Math.abs(change), 2)}` }));
  }
  return make("li", { role: "option", id: `instrument-${index}`, "data-index": index, "aria-selected": "false" }, ...texts);
}
