/** Which modulation is it: a recording is drawn here and classified by the service. */

import { busy, element, field, say } from "../elements.js";
import { Intake } from "../capture/intake.js";
import { constellationPlot, curvePlot } from "../signals/plots.js";
import { readSamples } from "../signals/recording.js";
import { spectrumDb } from "../signals/spectrum.js";
import { probabilityBars, verdict } from "./decision.js";

const FORMATS = [
  ["", "as the file's name says"],
  ["cf32", "cf32: bare complex floats (GNU Radio)"],
  ["ci16", "ci16: bare complex 16-bit integers"],
  ["cu8", "cu8: bare complex bytes (rtl_sdr)"],
  ["npy", "NumPy array"],
  ["wav", "stereo WAV"],
  ["sigmf", "SigMF archive"],
];

export async function radioView({ service, models }) {
  const model = models.withOutput("class", "iq")[0];
  const format = element("select", {}, FORMATS.map(([value, label]) => element("option", { value }, label)));
  const outcome = element("div", { role: "status" });
  const plots = element("div", { className: "columns" });
  const intake = new Intake({ service, model, done: "", onsample: (file) => classify(file) });

  async function classify(file) {
    const named = format.value || { cf32: "cf32", ci16: "ci16", cu8: "cu8" }[(file.name ?? "").split(".").at(-1).toLowerCase()];
    const samples = await readSamples(file, format.value);
    plots.replaceChildren(...(samples?.i.length ? drawnPlots(samples) : [element("p", { className: "weak" }, "This file cannot be drawn here.")]));
    const answer = await busy(element("button"), outcome, () => service.post("v1/classify", { model: model.name, file, sample_format: named }));
    if (!answer) return;
    const snr = answer.values.snr_db;
    const about = [snr === undefined ? null : `Signal to noise about ${snr.toFixed(0)} dB.`, `${answer.windows} ${answer.windows === 1 ? "window" : "windows"} were looked at.`];
    outcome.replaceChildren(
      answer.label ? verdict("good", answer.label, ...about) : verdict("unsure", "Unknown", "None of the modulations that the model knows.", ...about),
      probabilityBars(answer.classes),
    );
    say(answer.label ?? "Unknown.");
  }

  return {
    element: element(
      "div",
      {},
      element("h1", {}, "Radio"),
      element("p", { className: "lead" }, "Drop a recording of complex samples: which modulation is it, how noisy, known or not?"),
      element(
        "div",
        { className: "columns" },
        element("section", { className: "panel", "aria-label": "Recording" }, field("Format", format), intake.element, plots),
        element("section", { className: "panel", "aria-labelledby": "answer" }, element("h2", { id: "answer" }, "Answer"), outcome),
      ),
    ),
    drop: (files) => intake.take(files),
  };
}

function drawnPlots(samples) {
  const spectrum = spectrumDb(samples);
  const found = [figure("Constellation", constellationPlot(samples, `Constellation of ${samples.i.length} samples`))];
  if (spectrum.length) {
    const plot = {
      label: "Power over frequency",
      points: [...spectrum].map((value, n) => [n / (spectrum.length - 1), value]),
      marksX: [[0, "−½"], [0.5, "0"], [1, "+½"]],
      marksY: [-60, -40, -20, 0],
      unitY: "dB",
    };
    found.push(figure("Spectrum, over the sample rate", curvePlot(plot)));
  }
  return found;
}

function figure(title, plot) {
  return element("figure", { className: "field" }, plot, element("figcaption", { className: "weak" }, title));
}
