() => {
  const USABLE = "a[href], button, input, select, textarea, summary, [tabindex='0'], [role=button], [role=tab], [role=combobox], [role=slider]";
  // Groups of which Tab reaches one member, and arrows the others.
  const GROUP = "[role=tablist], [role=radiogroup], fieldset";
  const MEMBER = "[role=tab], [role=radio], input[type=radio]";
  const name = (element) => {
    const words = (element.getAttribute("aria-label") ?? element.innerText ?? "").trim().replace(/\s+/g, " ").slice(0, 40);
    return `${element.tagName.toLowerCase()}${element.id && `#${element.id}`} "${words}"`;
  };
  const isUsable = (element) =>
    !element.disabled && !element.closest("[inert], [aria-hidden=true]") && element.checkVisibility({ visibilityProperty: true }) && element.getBoundingClientRect().width > 1;
  const isMarked = (element) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
    return (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
  };
  // A field may be marked by the frame around it.
  const showsFocus = (element) => [element, element.parentElement, element.nextElementSibling].some((one) => one && isMarked(one));
  const reached = new Set();
  const unmarked = new Set();
  const note = () => {
    const element = document.activeElement;
    reached.add(element);
    if (!showsFocus(element)) unmarked.add(element);
  };
  document.activeElement.blur();
  window.keyboardWalk = {
    note,
    // After Tab: how many arrows visit the rest of the group that has the focus now; null at the end of the walk.
    tabbed() {
      const element = document.activeElement;
      if (reached.has(element) || (element === document.body && reached.size)) return null;
      if (element === document.body) return 0;
      note();
      const members = element.matches(MEMBER) ? element.closest(GROUP)?.querySelectorAll(MEMBER) : undefined;
      return [...(members ?? [])].filter((other) => other !== element && isUsable(other)).length;
    },
    faults: () => [
      ...[...document.querySelectorAll(USABLE)].filter((element) => isUsable(element) && !reached.has(element)).map((element) => `${name(element)} is not reached`),
      ...[...unmarked].map((element) => `${name(element)} does not show its focus`),
    ],
  };
}
