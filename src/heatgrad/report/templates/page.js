// Tables of the class "sortable" get a button in every head cell: up, down, and back.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
      const order = next === undefined ? "ascending" : next;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (order) head.setAttribute("aria-sort", order);
      body.append(...(order ? sorted(original, column, order === "descending") : original));
    });
  });
}
function sorted(rows, column, isDescending) {
  const isNumeric = rows.some((row) => "key" in row.cells[column].dataset);
  const key = (row) => {
    const cell = row.cells[column];
    if (isNumeric) return "key" in cell.dataset ? Number(cell.dataset.key) : null;
    return cell.dataset.text || cell.textContent.trim() || null;
  };
  const compare = (a, b) => (isNumeric ? Math.sign(a - b) : a.localeCompare(b));
  // What has no value stays last; ties keep the order of the study.
  return rows.slice().sort((first, second) => {
    const [a, b] = [key(first), key(second)];
    if (a === null || b === null) return (a === null) - (b === null);
    if (a === b) return 0;
    return isDescending ? compare(b, a) : compare(a, b);
  });
}
