/** Verify by samples of two kinds at once, such as a voice and a face. */

import { Intake } from "../capture/intake.js";
import { element } from "../elements.js";
import { verdict } from "./decision.js";
import { SampleList } from "./sample_list.js";

/** A panel that takes one sample of each part, and sends them together. */
export function jointPanel({ service, models, subject, send }) {
  const { name, parts } = models.joint;
  const button = element("button", { type: "button", className: "main", disabled: true, onclick: () => ask() }, "Verify");
  const rows = parts.map(({ field, model }) => partOf(service, model, field, () => check()));

  function check() {
    button.disabled = rows.some((row) => !row.taken.samples.length);
  }

  async function ask() {
    if (!subject()) return;
    const files = Object.fromEntries(rows.map((row) => [row.field, row.taken.samples[0]]));
    const answer = await send({ model: name, dim: null, ...files }, button);
    if (answer) rows.forEach((row) => row.taken.clear());
    check();
  }

  return {
    element: element(
      "div",
      {},
      rows.map((row) => element("fieldset", {}, element("legend", {}, row.label), row.intake.element, row.taken.element)),
      element("p", { className: "buttons" }, button),
    ),
    release: () => rows.forEach((row) => row.intake.release()),
    drop: (files) => [...files].forEach((file) => (rows.find((row) => row.takes(file)) ?? rows[0]).intake.take([file])),
  };
}

/** One part: how its sample is taken, and the sample, which a further one replaces. */
function partOf(service, model, field, onchange) {
  const taken = new SampleList(onchange);
  const intake = new Intake({
    service,
    model,
    done: model.how.capture === "camera" ? "Take the picture" : "Stop",
    onsample: (sample) => {
      intake.release();
      taken.clear();
      taken.add(sample);
    },
  });
  const types = model.how.accept.split(",").map((type) => type.replace("*", ""));
  return { field, label: model.label, taken, intake, takes: (file) => types.some((type) => file.type.startsWith(type)) };
}

/** The box and the similarities of an answer about several parts; without the scope `scores` it has none. */
export function jointlyVerified(answer, subject, models, lines) {
  const parts = Object.entries(answer.parts ?? {}).map(([name, part]) => ({ label: models.named(name)?.label ?? name, ...part }));
  const failed = parts.filter((part) => !part.match).map((part) => `The ${part.label.toLowerCase()} is not ${subject}'s.`);
  const together = models.joint.label.toLowerCase();
  if (!failed.length) failed.push(`It is not ${subject}, as far as ${together} tell together.`);
  const box = answer.match ? verdict("good", `Match: this is ${subject}`, `By ${together} together.`, ...lines) : verdict("bad", "No match", ...failed, ...lines);
  return { box, rows: [{ name: "Together", ...answer }, ...parts.map((part) => ({ name: part.label, ...part }))] };
}
