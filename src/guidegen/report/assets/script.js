"use strict";
const readKey = (cell) => {
  const text = cell.dataset.sort ?? cell.textContent;
  const value = Number(text);
  return text.trim() === "" || text === "–" ? null : Number.isNaN(value) ? text : value;
};
const compareKeys = (a, b) =>
  a === null ? 1 : b === null ? -1 : typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
document.addEventListener("click", (event) => {
  const head = event.target.closest?.("th button")?.closest("th");
  if (head) {
    const body = head.closest("table").tBodies[0];
    const column = [...head.parentNode.children].indexOf(head);
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...body.rows].filter((row) => !row.classList.contains("total"));
    const totals = [...body.rows].filter((row) => row.classList.contains("total"));
    rows.sort((a, b) => {
      const x = readKey(a.cells[column]), y = readKey(b.cells[column]);
      return x === null || y === null ? compareKeys(x, y) : (up ? 1 : -1) * compareKeys(x, y);
    });
    body.append(...rows, ...totals);
  }
});
for (const box of document.querySelectorAll("[data-layers]")) {
  box.addEventListener("change", () => box.closest(".gallery").classList.toggle("bare", !box.checked));
}
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.classList.remove("here");
      links.get(entry.target.id)?.classList.add("here");
    }
  },
  { rootMargin: "-10% 0px -80% 0px" },
);
for (const section of document.querySelectorAll("main section")) watcher.observe(section);
