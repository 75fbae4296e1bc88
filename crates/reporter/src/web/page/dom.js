// Building and filling elements. Text from the server is inserted as text, never as markup.

export const byId = (id) => document.getElementById(id);

// Makes an element: attributes by name, `text` and `class` among them, then children.
export function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function makeSvg(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(element, { text, ...attributes }, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== undefined && value !== false) element.setAttribute(key, value);
  }
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

// Sets a text only if it differs, so that a live region does not repeat itself.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Pairs of a name and a value, with a state where one is given.
export function facts(pairs) {
  return pairs.map(([name, value, state]) =>
    make("div", {}, make("dt", { text: name }), make("dd", { text: value, "data-state": state || undefined })),
  );
}

// Calls `work` at most once in `ms`, at the end of that time.
export function atMostEvery(ms, work) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      work();
    }, ms);
  };
}

// Moves the focus in a row of buttons with the arrow keys, and calls `choose` with the one that gets it.
export function arrowKeys(buttons, choose) {
  buttons.forEach((button, index) => {
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = buttons[(index + step + buttons.length) % buttons.length];
      choose(next);
      next.focus();
    });
  });
}
