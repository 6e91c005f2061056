/** Who is this, if anybody known? */

import { Intake } from "../capture/intake.js";
import { busy, choices, element, field, say } from "../elements.js";
import { numberedPicture } from "./faces.js";
import { oneIn, similarityBars, verdict } from "./decision.js";
import { DimSlider } from "./dim_slider.js";

const RATES = [1e-1, 1e-2, 1e-3];
const USUAL_RATE = 1e-2;
const MOST_SHOWN = 5;

export async function identifyView({ service, models }) {
  const options = models.embedding;
  if (!options.length) return { element: element("p", { className: "panel" }, "No served model can tell people or things apart.") };
  const rate = element("select", {}, RATES.map((one) => element("option", { value: String(one), selected: one === USUAL_RATE }, `${oneIn(one)} may be given a name`)));
  const outcome = element("div", { className: "answer", role: "status" });
  const place = element("div");
  const details = element("details", {}, element("summary", {}, "Strictness and size"));
  let model;
  let slider;
  let intake;
  let several;

  function choose(value) {
    intake?.release();
    outcome.replaceChildren();
    model = models.named(value);
    slider = new DimSlider(model);
    details.replaceChildren(details.firstChild, field("Of searches by people who are not enrolled", rate), slider.element);
    intake = new Intake({
      service,
      model,
      done: model.how.capture === "camera" ? "Take the picture and look" : "Stop and look",
      onsample: (sample) => {
        intake.release();
        send(sample);
      },
    });
    several = element("input", { type: "checkbox" });
    const choice = model.how.several && element("label", { className: "tick" }, several, model.how.several.label);
    place.replaceChildren(...[choice, intake.element].filter(Boolean));
  }

  async function send(sample) {
    const fields = { model: model.name, file: sample, dim: slider.value, max_fpir: rate.value, top_k: MOST_SHOWN };
    if (several.checked) fields[model.how.several.field] = model.how.several.value;
    const answer = await busy(element("button"), outcome, () => service.post("v1/identify", fields));
    if (!answer) return;
    outcome.replaceChildren(...(answer.faces ? await eachIdentified(answer, sample) : identifiedBoxes(answer)));
    outcome.scrollIntoView({ block: "nearest" });
    const found = answer.faces ? answer.faces.map((one) => one.match).filter(Boolean) : [answer.match].filter(Boolean);
    say(found.length ? `This is ${found.join(", ")}.` : "Unknown.");
  }

  choose(options[0].name);
  return {
    element: element(
      "div",
      {},
      element("h1", {}, "Identify"),
      element("p", { className: "lead" }, "Who is it? Somebody who is not enrolled is answered with “unknown”."),
      element(
        "div",
        { className: "columns" },
        element("section", { className: "panel", "aria-label": "Whom to look up" }, choices("By", options.map((one) => ({ value: one.name, label: one.label })), choose), place, details),
        element("section", { className: "panel", "aria-labelledby": "answer" }, element("h2", { id: "answer" }, "Answer"), outcome),
      ),
    ),
    drop: (files) => intake.take(files),
    leave: () => intake.release(),
  };
}

function identifiedBoxes(answer) {
  const box = answer.match ? verdict("good", `This is ${answer.match}`, lookedFor(answer)) : verdict("unsure", "Unknown", "Nobody who is enrolled.", lookedFor(answer));
  return [box, candidateBars(answer)].filter(Boolean);
}

/** The picture with its faces numbered, and under it who each is. */
async function eachIdentified(answer, sample) {
  const people = answer.faces.map((one, n) => {
    const box = one.match ? verdict("good", `${n + 1}: ${one.match}`) : verdict("unsure", `${n + 1}: Unknown`);
    return element("li", {}, ...[box, candidateBars(one)].filter(Boolean));
  });
  const picture = await numberedPicture(sample, answer.faces.map((one) => one.face)).catch(() => null); // of a kind that this browser does not show
  return [picture, element("ol", { className: "plain" }, people), element("p", { className: "weak" }, lookedFor(answer))].filter(Boolean);
}

function candidateBars({ candidates }) {
  return similarityBars(candidates.map((one) => ({ name: one.subject_id, similarity: one.similarity, threshold: one.threshold })));
}

function lookedFor(answer) {
  return `Looked for among ${answer.gallery_size.toLocaleString("en")}; ${oneIn(answer.max_fpir)} searches by others would be given a name.`;
}
