() => {
  const name = (element) => {
    const words = (element.innerText ?? "").trim().replace(/\s+/g, " ").slice(0, 40);
    return `${element.tagName.toLowerCase()}${element.id && `#${element.id}`}.${element.classList.value.replaceAll(" ", ".")} "${words}"`;
  };
  const scrolls = (element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
  const hides = (element) => ["hidden", "clip"].includes(getComputedStyle(element).overflowX);
  const isInsideScroller = (element) => {
    for (let parent = element.parentElement; parent && parent !== document.body; parent = parent.parentElement) {
      if (scrolls(parent)) return true;
    }
    return false;
  };
  // The chart's library sizes its own parts. Elements of one pixel are for screen readers.
  const isShown = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && element.checkVisibility({ visibilityProperty: true }) && !element.closest(".tv-lightweight-charts");
  };
  const width = document.documentElement.clientWidth;
  const found = [];
  if (document.scrollingElement.scrollWidth > width) found.push(`the page is ${document.scrollingElement.scrollWidth} px wide, its screen ${width}`);
  for (const element of [...document.body.querySelectorAll("*")].filter(isShown)) {
    const box = element.getBoundingClientRect();
    const isBeyond = box.right > width + 1 || box.left < -1;
    if (isBeyond && !isInsideScroller(element)) found.push(`${name(element)} reaches from ${Math.round(box.left)} to ${Math.round(box.right)}`);
    if (hides(element) && element.scrollWidth > element.clientWidth + 1) found.push(`${name(element)} hides ${element.scrollWidth - element.clientWidth} px`);
  }
  return found;
}
