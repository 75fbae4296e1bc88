// Light, dark, or as the system says. `theme_early.js` sets the choice before the page is drawn; this changes it.

import { byId } from "./dom.js";

const CHOICES = ["auto", "light", "dark"];
const SIGNS = { auto: "◐", light: "☀", dark: "☾" };
const KEY = "candlewire-theme";

const NAMES = [
  "card", "ink", "quiet", "line", "grid", "up", "down", "volume-up", "volume-down", "average", "forecast", "band-50", "band-90",
  "miss", "gap", "filled", "accent",
];

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

// The colors of the style sheet as the canvas needs them, by name.
export function colors() {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const found = NAMES.map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  });
  probe.remove();
  return Object.fromEntries(found);
}

// The same color with an opacity from 0 to 1.
export function faded(color, opacity) {
  const [red, green, blue] = color.match(/[\d.]+/g);
  return `rgba(${red}, ${green}, ${blue}, ${opacity})`;
}

// Lets the button change the theme, and calls `onChange` whenever colors change.
export function followTheme(onChange) {
  const button = byId("theme");
  let choice = CHOICES.includes(root.dataset.theme) ? root.dataset.theme : "auto";
  const show = () => {
    root.dataset.theme = choice;
    button.textContent = SIGNS[choice];
    button.setAttribute("aria-label", `Colors: ${choice === "auto" ? "as the system" : choice}`);
    button.title = button.getAttribute("aria-label");
  };
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    show();
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // Without storage, the choice lasts until the page is closed.
    }
    onChange();
  });
  system.addEventListener("change", onChange);
  show();
}
