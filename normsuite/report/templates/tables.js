"use strict";
// Tables that sort, filter and copy. Without this script they are plain tables, and nothing is missing.

const UNITS = {ns: 1e-9, "µs": 1e-6, ms: 1e-3, s: 1, B: 1, KiB: 2 ** 10, MiB: 2 ** 20};

const NUMBER = /^[×±\s]*([+−-]?(?:\d[\d,]*(?:\.\d+)?(?:e[+-]?\d{1,3})?|infinite|inf|∞))(?![\p{L}\d])(?:\s*(ns|µs|ms|s|B|KiB|MiB)(?!\p{L}))?/u;

// What a cell sorts by: its leading number in base units, or null for text. Hashes of commits are text.
function number(text) {
  const found = NUMBER.exec(text);
  return found && Number(found[1].replace("−", "-").replace(/infinite|inf|∞/, "Infinity").replaceAll(",", "")) * (UNITS[found[2]] ?? 1);
}

// Numbers first, then text, then what is missing, whichever way round.
function compare(left, right, direction) {
  const [a, b] = [left, right].map(number);
  if (a !== null && b !== null) return direction * (a === b ? 0 : a - b);  // two infinities are equal
  const rank = (value, text) => (value !== null ? 0 : /^(–|n\/a)?$/.test(text) ? 2 : 1);
  return rank(a, left) - rank(b, right) || direction * left.localeCompare(right, "en", {numeric: true});
}

const QUANTITY = /^[+-]?[\d.,]+(e[+-]?\d+)?( ?[%\p{L}]+)?( \[[-+−\d.,%∞\p{L} ]*\])?$/u;

function csv(table) {
  const cell = (element) => {
    const text = element.textContent.trim();
    // A spreadsheet would compute text that looks like a formula; a number with its unit and interval is none.
    const plain = /^[=@\t+-]/.test(text) && !QUANTITY.test(text) ? "'" + text : text;
    return /[",\n]/.test(plain) ? '"' + plain.replaceAll('"', '""') + '"' : plain;
  };
  return [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].map(cell).join(",")).join("\n") + "\n";
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {  // not allowed here: the older way
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

function sortable(table) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      const text = (row) => row.cells[column].textContent.trim();
      body.append(...[...body.rows].sort((left, right) => compare(text(left), text(right), direction)));
    });
  });
}

function tools(box) {
  const table = box.querySelector("table");
  const bar = document.createElement("div");
  bar.className = "tools";
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "search";
  label.append("Filter rows ", input);
  const caption = table.caption.textContent.trim();
  input.setAttribute("aria-label", "Filter rows: " + caption);
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy as CSV";
  button.setAttribute("aria-label", "Copy as CSV: " + caption);
  const said = document.createElement("output");
  bar.append(label, button, said);
  box.before(bar);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of table.tBodies[0].rows) {
      const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const rows = [...table.tBodies[0].rows];
    said.textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length + " rows";
  });
  button.addEventListener("click", async () => {
    said.textContent = (await copy(csv(table))) ? "copied" : "the browser did not let this page copy";
  });
}

for (const box of document.querySelectorAll(".scroll")) {
  sortable(box.querySelector("table"));
  tools(box);
}

// A link leads into a folded part, and paper has no folds.
function unfold() {
  const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (const folded of place ? place.querySelectorAll("details") : []) folded.open = true;
}
addEventListener("hashchange", unfold);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((folded) => (folded.open = true)));
unfold();
