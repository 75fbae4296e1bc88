// Sets the chosen colors before the page is drawn, so that it does not flash. Not a module: modules run later.
try {
  document.documentElement.dataset.theme = localStorage.getItem("candlewire-theme") || "auto";
} catch {
  document.documentElement.dataset.theme = "auto";
}
