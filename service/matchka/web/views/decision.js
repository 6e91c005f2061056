/** What a decision looks like: the verdict, the similarity beside its threshold, and what was not told. */

import { element } from "../elements.js";

/** A box that says yes, no or not sure, in words and not by colour alone. */
export function verdict(kind, title, ...lines) {
  const marks = { good: "✓", bad: "✗", unsure: "?" };
  return element(
    "div",
    { className: `verdict ${kind}`, data: { verdict: kind } },
    element("span", { className: "mark", "aria-hidden": "true" }, marks[kind]),
    element("div", {}, element("h2", {}, title), lines.filter(Boolean).map((line) => element("p", {}, line))),
  );
}

/**
 * Similarities as bars, each with its threshold. Without the scope `scores` there are none to draw.
 * @param {Array<{name: string, similarity: number | null, threshold: number | null}>} rows
 */
export function similarityBars(rows) {
  const known = rows.filter((row) => row.similarity !== null && row.threshold !== null);
  if (!known.length) return null;
  return element(
    "ul",
    { className: "bars", "aria-label": "Similarity, and the threshold that it has to reach" },
    known.map(({ name, similarity, threshold }) => {
      const value = element("span", { className: "value" });
      const mark = element("span", { className: "threshold" });
      value.style.width = `${percentOf(similarity)}%`;
      mark.style.left = `${percentOf(threshold)}%`;
      return element(
        "li",
        {},
        element("div", { className: "label" }, element("span", {}, name), element("span", { className: "number" }, `${similarity.toFixed(3)}; needs ${threshold.toFixed(3)}`)),
        element("div", { className: "bar", "aria-hidden": "true" }, value, mark),
      );
    }),
  );
}

/** Bars of probabilities, the most probable first. */
export function probabilityBars(rows, most = 6) {
  return element(
    "ul",
    { className: "bars", "aria-label": "Probabilities" },
    rows.slice(0, most).map(({ label, probability }) => {
      const value = element("span", { className: "value" });
      value.style.width = `${100 * (probability ?? 0)}%`;
      const told = probability === null ? "" : `${(100 * probability).toFixed(probability < 0.1 ? 1 : 0)} %`;
      return element(
        "li",
        {},
        element("div", { className: "label" }, element("span", {}, label), element("span", { className: "number" }, told)),
        probability === null ? null : element("div", { className: "bar", "aria-hidden": "true" }, value),
      );
    }),
  );
}

/** "one in 1,000", as people say rates. */
export function oneIn(rate) {
  return `one in ${Math.round(1 / rate).toLocaleString("en")}`;
}

/** Where a similarity lies on a bar of 0 to 100; what is below 0 is as unlike as can be. */
function percentOf(similarity) {
  return 100 * Math.max(0, Math.min(1, similarity));
}
