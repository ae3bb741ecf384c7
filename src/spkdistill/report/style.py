"""The page's style sheet and the few lines of script that sort its tables."""

STYLE = """
:root { --ink: #1d1f23; --soft: #5f6670; --line: #e2e4e8; --tint: #f6f7f9; --accent: #0b5a94; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; color: var(--ink); background: #fff; -webkit-text-size-adjust: 100%;
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header, nav, main { max-width: 1200px; margin: 0 auto; padding: 0 28px; }
header { padding-top: 40px; }
h1 { font-size: 34px; line-height: 1.15; margin: 0 0 10px; letter-spacing: -.015em; overflow-wrap: anywhere; }
h2 { font-size: 23px; line-height: 1.25; margin: 0 0 10px; padding-top: 18px;
  border-top: 2px solid var(--ink); }
h3 { font-size: 16px; margin: 26px 0 8px; overflow-wrap: anywhere; }
h4 { font-size: 14.5px; margin: 20px 0 6px; overflow-wrap: anywhere; }
.kicker { margin: 0 0 2px; color: var(--soft); font-size: 13px; text-transform: uppercase;
  letter-spacing: .09em; }
nav { position: sticky; top: 0; z-index: 1; background: #fffffff2; font-size: 14px;
  display: flex; flex-wrap: wrap; gap: 2px 20px; padding-top: 9px; padding-bottom: 9px; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
section { margin: 0 0 44px; scroll-margin-top: 36px; }
p { margin: 0 0 12px; max-width: 88ch; overflow-wrap: anywhere; }
.opening { margin-top: 14px; }
.lead { font-size: 18px; }
.lists { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 0 40px;
  margin-bottom: 18px; }
.lists h3 { margin-top: 10px; }
.lists ul { margin: 0; padding-left: 18px; }
.lists li { margin-bottom: 6px; font-size: 15px; line-height: 1.45; overflow-wrap: anywhere; }
.note { color: var(--soft); font-size: 14px; }
.wide { overflow-x: auto; margin-bottom: 14px; }
table { border-collapse: collapse; font-size: 13.5px; line-height: 1.35; }
.full { width: 100%; }
th { text-align: left; vertical-align: bottom; font-weight: 600; font-size: 12.5px; color: var(--soft);
  border-bottom: 1.5px solid var(--ink); padding: 5px 8px; cursor: pointer; user-select: none;
  white-space: nowrap; }
td { padding: 4px 8px; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { padding-left: 2px; }
th[aria-sort]::after { content: " \\25B4"; }
th[aria-sort=descending]::after { content: " \\25BE"; }
tbody tr:hover { background: var(--tint); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar { padding-top: 0; padding-bottom: 0; }
.bar svg { display: block; }
.model { min-width: 8em; overflow-wrap: anywhere; }
.verdict { white-space: nowrap; }
.best .eer { font-weight: 700; }
.faint { color: var(--soft); }
.swatch { display: inline-block; width: 9px; height: 9px; border-radius: 50%; margin-right: 7px; }
figure { margin: 18px 0 30px; }
figure svg { display: block; max-width: 100%; height: auto; }
figure svg text { font-family: inherit !important; }
figcaption { color: var(--soft); font-size: 14px; margin-top: 6px; max-width: 88ch; }
details { margin: 0 0 8px; }
summary { cursor: pointer; color: var(--accent); font-size: 14.5px; }
code, pre { font-family: ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; }
code { font-size: .92em; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 4px; padding: 10px 14px;
  font-size: 12.5px; line-height: 1.45; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print {
  @page { size: A4; margin: 13mm; }
  body { font-size: 10pt; }
  nav { display: none; }
  header, main { padding: 0; max-width: none; }
  table { font-size: 7.5pt; }
  th { font-size: 7pt; }
  th, td { padding: 2px 4px; }
  .wide { overflow: visible; }
  .bar svg { width: 84px; height: auto; }
  tr, figure { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""

SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const order = (a, b) => (isNaN(a) || isNaN(b)) ? a.localeCompare(b, "en", {numeric: true}) : a - b;
    const rows = [...table.tBodies[0].rows].sort((a, b) => order(key(a), key(b)) * (down ? -1 : 1));
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...rows);
  }));
}
"""
