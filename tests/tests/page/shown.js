() => {
  document.querySelector("#tables [data-table=shown]:not([aria-selected=true])")?.click();
  const number = (text) => Number(text.replaceAll(",", "").replace("−", "-"));
  const bars = [...document.querySelectorAll("#rows tr")].map(({ cells }) => [...cells].map((cell) => cell.textContent));
  // A row without columns says that there are none; the coverage of an open candle is not known.
  const final = bars.filter((bar) => bar.length > 8 && bar[8] !== "open");
  return final.reverse().map(([start, open, high, low, close]) => ({
    start_ms: Date.parse(`${start.slice(0, 16).replace(" ", "T")}Z`),
    open: number(open),
    high: number(high),
    low: number(low),
    close: number(close),
  }));
}
