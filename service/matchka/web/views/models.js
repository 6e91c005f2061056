/** What is served, and what each dim of it costs and gives. */

import { element } from "../elements.js";

export async function modelsView({ models }) {
  return {
    element: element(
      "div",
      {},
      element("h1", {}, "Models"),
      element("p", { className: "lead" }, "What is served, and what was measured of it on people who trained nothing."),
      models.all.map(modelPanel),
      element("p", { className: "weak" }, "All calls: ", element("a", { href: "docs" }, "the interface's own page"), "."),
    ),
  };
}

function modelPanel(model) {
  const { raw } = model;
  const subjects = raw.subjects.toLocaleString("en");
  return element(
    "section",
    { className: "panel", "aria-label": model.name },
    element("h2", {}, `${model.name} ${raw.version}`),
    element("p", {}, `${raw.task}; takes ${model.how.label.toLowerCase()}; gives ${Object.keys(raw.outputs).join(", ")}. ${subjects} enrolled. Backbone: ${raw.backbone.name} (${raw.backbone.licence}).`),
    model.embeds ? element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `${model.name} by dim` }, dimTable(model)) : null,
  );
}

function dimTable(model) {
  const domains = model.errorsAt(model.dims[0]).map(({ domain }) => domain).sort();
  return element(
    "table",
    {},
    element("caption", {}, "Equal error rate in % by dim, and the bytes of one reference"),
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "dim"), domains.map((domain) => element("th", { scope: "col" }, domain)), element("th", { scope: "col" }, "bytes"))),
    element(
      "tbody",
      {},
      model.dims.map((dim) => {
        const errors = Object.fromEntries(model.errorsAt(dim).map(({ domain, percent }) => [domain, percent.toFixed(2)]));
        return element("tr", {}, element("th", { scope: "row" }, String(dim)), domains.map((domain) => element("td", {}, errors[domain] ?? "")), element("td", {}, String(4 * dim)));
      }),
    ),
  );
}
