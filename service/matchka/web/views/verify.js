/** Is this who it is said to be? One sample, or an answer to a challenge. */

import { Intake } from "../capture/intake.js";
import { busy, choices, element, field, say } from "../elements.js";
import { oneIn, similarityBars, verdict } from "./decision.js";
import { DimSlider } from "./dim_slider.js";
import { headTurnPanel } from "./head_turn.js";
import { jointlyVerified, jointPanel } from "./joint.js";
import { phrasePanel } from "./phrase.js";

const RATES = [1e-1, 1e-2, 1e-3, 1e-4];
const USUAL_RATE = 1e-3;

/** Ways to verify, by the kind of sample that they need: a row for each. */
const WAYS = [
  { value: "sample", label: "One sample", panel: samplePanel, fits: () => true },
  { value: "phrase", label: "Spoken phrase", panel: phrasePanel, fits: (model, models) => model.kind === "audio" && models.challenges.includes("phrase") },
  { value: "joint", label: "Voice and face together", panel: jointPanel, fits: (model, models) => models.joint?.parts.some((part) => part.model === model) },
  { value: "head_turn", label: "Turn of the head (experimental)", panel: headTurnPanel, fits: (model, models) => model.kind === "face" && models.challenges.includes("head_turn") },
];

export async function verifyView({ service, models, argument }) {
  const options = models.embedding;
  if (!options.length) return { element: element("p", { className: "panel" }, "No served model can tell people or things apart.") };
  const name = element("input", { type: "text", maxLength: 256, autocomplete: "off", spellcheck: false, value: argument ?? "", "list": "known", onkeydown: (event) => event.key === "Enter" && sendWaiting() });
  const known = element("datalist", { id: "known" });
  const rate = element("select", {}, RATES.map((one) => element("option", { value: String(one), selected: one === USUAL_RATE }, `${oneIn(one)} strangers may pass`)));
  const outcome = element("div", { className: "answer", role: "status" });
  const ways = element("div");
  const place = element("div");
  const details = element("details", {}, element("summary", {}, "Strictness and size"));
  let model;
  let slider;
  let panel;
  let waiting = null; // what is sent when it is known whose it is said to be

  function choose(value) {
    model = models.named(value);
    slider = new DimSlider(model);
    details.replaceChildren(details.firstChild, field("Of those who are not this person", rate), slider.element);
    const fitting = WAYS.filter((way) => way.fits(model, models));
    ways.replaceChildren(fitting.length > 1 ? choices("How", fitting, (way) => open(way)) : "");
    open("sample");
  }

  function open(way) {
    panel?.release();
    waiting = null;
    outcome.replaceChildren();
    panel = WAYS.find((one) => one.value === way).panel({ service, model, models, subject, send });
    place.replaceChildren(panel.element);
  }

  /** The name that was typed; without one it is asked for, and there is none. */
  function subject(help = "Enter the name above.") {
    const typed = name.value.trim();
    if (typed) return typed;
    outcome.replaceChildren(verdict("unsure", "Who is it said to be?", help));
    name.focus();
    return null;
  }

  /** Ask the service, and show what it says. */
  async function send(fields, button = element("button")) {
    const claimed = subject("Enter the name above; what you recorded or chose is kept until then.");
    waiting = claimed ? null : { fields, button };
    if (!claimed) {
      outcome.append(element("button", { type: "button", onclick: () => sendWaiting() }, "Verify it now"));
      return null;
    }
    const answer = await busy(button, outcome, () =>
      service.post("v1/verify", { model: model.name, subject_id: claimed, dim: slider.value, max_fmr: rate.value, ...fields }),
    );
    if (answer) outcome.replaceChildren(...verifiedBoxes(answer, claimed, model, models));
    outcome.scrollIntoView({ block: "nearest" });
    if (answer) say(answer.match ? "Match." : "No match.");
    return answer;
  }

  function sendWaiting() {
    if (waiting && name.value.trim()) send(waiting.fields, waiting.button);
  }

  choose(options[0].name);
  service.get("v1/subjects?limit=1000").then(
    (page) => known.append(...page.subjects.map((subject) => element("option", { value: subject.subject_id }))),
    () => null, // without the scope names are typed
  );
  return {
    element: element(
      "div",
      {},
      element("h1", {}, "Verify"),
      element("p", { className: "lead" }, "Is it the person? Say who, then speak or look into the camera."),
      element(
        "div",
        { className: "columns" },
        element(
          "section",
          { className: "panel", "aria-label": "What to verify" },
          field("Who is it said to be?", name),
          known,
          choices("By", options.map((one) => ({ value: one.name, label: one.label })), choose),
          ways,
          place,
          details,
        ),
        element("section", { className: "panel", "aria-labelledby": "answer" }, element("h2", { id: "answer" }, "Answer"), outcome),
      ),
    ),
    drop: (files) => panel.drop?.(files),
    leave: () => panel.release(),
  };
}

function samplePanel({ service, model, send }) {
  const intake = new Intake({
    service,
    model,
    done: model.how.capture === "camera" ? "Take the picture and verify" : "Stop and verify",
    onsample: (sample) => {
      intake.release();
      send({ file: sample });
    },
  });
  return { element: intake.element, release: () => intake.release(), drop: (files) => intake.take(files) };
}

function verifiedBoxes(answer, subject, model, models) {
  const measured = answer.threshold_measured ? "" : " (extrapolated: rarer than could be counted)";
  const rate = answer.match ? `At this threshold ${oneIn(answer.max_fmr)} others would pass${measured}.` : null;
  const sure = answer.probability === null ? null : `Probability that it is ${subject}: ${(100 * answer.probability).toFixed(1)} %, at even odds beforehand.`;
  const judge = "parts" in answer ? jointlyVerified : verifiedAlone;
  const { box, rows } = judge(answer, subject, models, [sure, rate], model);
  return [box, similarityBars(rows)].filter(Boolean);
}

function verifiedAlone(answer, subject, models, lines, model) {
  const person = answer.similarity === null ? null : answer.similarity >= answer.threshold;
  const failed = [];
  if (answer.phrase && !answer.phrase.match) failed.push("The words were not the phrase that was asked for.");
  if (answer.head_turn && !answer.head_turn.match) {
    failed.push(answer.head_turn.same_person ? "The head did not turn as asked." : "The pictures do not show one person.");
  }
  if (person && failed.length) failed.push(`The ${model.label.toLowerCase()} is ${subject}'s.`);
  if (person === false || (person === null && !failed.length)) failed.push(`It is not ${subject}, as far as the ${model.label.toLowerCase()} tells.`);
  const box = answer.match ? verdict("good", `Match: this is ${subject}`, ...lines) : verdict("bad", "No match", ...failed, ...lines);
  return { box, rows: [{ name: subject, ...answer }] };
}
