/** Settings of an equalizer: out of a word, between two, and what a setting sounds like. */

import { busy, element, field, problemBox } from "../elements.js";
import { filtersOf, responseDb } from "../signals/equalizer.js";
import { curvePlot } from "../signals/plots.js";
import { probabilityBars } from "./decision.js";

const LEAST_HZ = 20;
const MOST_HZ = 20000;
const POINTS = 160;
const STEP_DB = 6;
const MARKS_HZ = [[50, "50"], [200, "200"], [1000, "1k"], [5000, "5k"], [15000, "15k Hz"]];
const PAUSE_MS = 120; // while a slider moves

export async function equalizerView({ service, models }) {
  const model = models.withOutput("parameters", "tabular")[0];
  const { words, parameters: described } = model.outputOf("parameters");
  const flat = Object.fromEntries(described.map(({ name, low, high }) => [name, name.endsWith("_gain_db") ? 0 : Math.sqrt(Math.max(low, 0.01) * high)]));
  const shown = element("div");
  const trouble = element("div", { role: "status" });
  const ends = { a: flat, b: flat };
  const isClassifying = model.outputOf("class") !== null;

  const word = element("select", {}, Object.entries(words).map(([name, people]) => element("option", { value: name }, `${name} (${people} people)`)));
  const strength = element("input", { type: "range", min: "0", max: "1", step: "0.05", value: "1" });
  const between = element("input", { type: "range", min: "0", max: "1", step: "0.05", value: "0.5" });
  const generate = later(async () => show((await service.post("v1/generate", { model: model.name, descriptor: word.value, strength: strength.value })).parameters, `${word.value}, strength ${strength.value}`));
  const morph = later(async () => {
    const fields = { model: model.name, a: fileOf(ends.a), b: fileOf(ends.b), t: between.value };
    show((await service.post("v1/morph", fields)).parameters, `between A and B, ${between.value} of the way`);
  });
  let current = flat;

  async function show(setting, title) {
    current = setting;
    shown.replaceChildren(responsePlot(setting, title), settingTable(setting, described));
    trouble.replaceChildren();
    if (!isClassifying) return;
    const answer = await service.post("v1/classify", { model: model.name, file: fileOf(setting) });
    shown.append(element("h3", {}, answer.label ? `Sounds ${answer.label}` : "Sounds like neither of the words it knows"), probabilityBars(answer.classes));
  }

  /** Run a step after the slider has rested, and only the last one asked for. */
  function later(step) {
    let waiting = null;
    return () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => step().catch((error) => trouble.replaceChildren(problemBox(error))), PAUSE_MS);
    };
  }

  function keep(end) {
    ends[end] = current;
    morph();
  }

  async function drop(files) {
    await busy(element("button"), trouble, async () => show(JSON.parse(await files[0].text()), files[0].name));
  }

  word.addEventListener("change", generate);
  strength.addEventListener("input", generate);
  between.addEventListener("input", morph);
  generate();
  const input = element("input", { type: "file", accept: model.how.accept, "aria-label": "Open a setting: JSON of named numbers", onchange: () => drop(input.files) });
  return {
    element: element(
      "div",
      {},
      element("h1", {}, "Equalizer"),
      element("p", { className: "lead" }, "A setting out of a word, and every setting between two."),
      element(
        "div",
        { className: "columns" },
        element(
          "section",
          { className: "panel", "aria-label": "What to make" },
          element("h2", {}, "Out of a word"),
          field("Word", word),
          field("Strength", strength),
          element("h2", {}, "Between two"),
          element("p", { className: "row" }, element("button", { type: "button", onclick: () => keep("a") }, "Take this as A"), element("button", { type: "button", onclick: () => keep("b") }, "Take this as B")),
          field("From A to B", between),
          element("div", { className: "drop" }, element("span", { className: "weak" }, "A setting as JSON, here or dropped anywhere: "), input),
          trouble,
        ),
        element("section", { className: "panel", "aria-label": "The setting" }, shown),
      ),
    ),
    drop,
    found: generate,
  };
}

function fileOf(setting) {
  return new Blob([JSON.stringify(setting)], { type: "application/json" });
}

function responsePlot(setting, title) {
  const filters = filtersOf(setting);
  const share = (hz) => Math.log(hz / LEAST_HZ) / Math.log(MOST_HZ / LEAST_HZ);
  const points = Array.from({ length: POINTS }, (_, n) => {
    const at = n / (POINTS - 1);
    return [at, responseDb(filters, LEAST_HZ * (MOST_HZ / LEAST_HZ) ** at)];
  });
  const top = STEP_DB * Math.max(1, Math.ceil(Math.max(...points.map(([, gain]) => Math.abs(gain))) / STEP_DB));
  const marksY = Array.from({ length: (2 * top) / STEP_DB + 1 }, (_, n) => STEP_DB * n - top);
  const plot = curvePlot({ label: `Response: ${title}`, points, marksX: MARKS_HZ.map(([hz, name]) => [share(hz), name]), marksY, unitY: "dB" });
  return element("figure", { className: "field" }, plot, element("figcaption", { className: "weak" }, title));
}

function settingTable(setting, described) {
  return element(
    "details",
    {},
    element("summary", {}, "The numbers"),
    element("table", {}, described.map(({ name, unit }) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, `${Number(setting[name]).toPrecision(4)} ${unit}`)))),
  );
}
