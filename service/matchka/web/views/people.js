/** Who is enrolled: list, add, delete. */

import { Intake } from "../capture/intake.js";
import { busy, choices, confirmed, element, field, problemBox, say } from "../elements.js";
import { SampleList } from "./sample_list.js";

const PAGE = 100;
/** What helps here, by the code of the problem, where the service's own remedy names fields of its interface. */
const HELP = {
  invalid_subject_id: ({ value }) => `A name has letters, digits and . _ : @ - here, and no spaces. ${shortened(value)}`.trim(),
  differs_from_subject: () => "Is it the right name? If it is, try again with a better sample; somebody with an administrator's key can enrol it all the same.",
  samples_differ: () => "Keep samples of one person only: throw the odd one away, and send the others.",
  likely_duplicate: ({ value }) => (value ? `It looks like ${value}: add the sample to that name.` : "Add the sample to the name that the person has here."),
};

export async function peopleView({ service, models, refresh, go }) {
  const list = element("div", {}, element("p", { className: "weak" }, "Loading …"));
  const receipt = element("div", { role: "status" });
  let receiptUrl = null;
  const adding = addPanel({ service, models, go, added: () => showPeople().then(refresh) });
  let cursor = null;

  /** Say that somebody is gone, and offer what the service signed of it: null where another tab was faster. */
  function showReceipt(id, signed) {
    if (receiptUrl) URL.revokeObjectURL(receiptUrl);
    receiptUrl = signed && URL.createObjectURL(new Blob([JSON.stringify(signed)], { type: "application/json" }));
    const name = signed && `receipt-of-deletion-${signed.erased_at.replace(/\D/g, "").slice(0, 14)}.json`; // it names nobody, as the receipt
    receipt.replaceChildren(
      element("p", {}, `${id} is deleted. `, receiptUrl && element("a", { href: receiptUrl, download: name }, "Save the receipt")),
    );
  }

  async function showPeople(from = null) {
    try {
      const page = await service.get(`v1/subjects?limit=${PAGE}${from ? `&cursor=${encodeURIComponent(from)}` : ""}`);
      const items = page.subjects.map((subject) => personItem(subject));
      const shown = from ? list.querySelector("ul.people") : element("ul", { className: "people" });
      shown.append(...items);
      cursor = page.next_cursor;
      const more = cursor && element("button", { type: "button", onclick: () => showPeople(cursor) }, "Show more");
      const nobody = !items.length && !from && element("p", { className: "weak" }, "Nobody yet. Add yourself: a voice takes five seconds, a face one picture.");
      list.replaceChildren(...[nobody || shown, more].filter(Boolean));
    } catch (error) {
      const mayNot = error.code === "missing_scope";
      list.replaceChildren(mayNot ? element("p", { className: "weak" }, "This key may not list people. It may still add and verify them by name.") : problemBox(error));
    }
  }

  function personItem({ subject_id: id, template_count: count, created_at: created }) {
    const trouble = element("div");
    const item = element(
      "li",
      { data: { subject: id } },
      element("span", { className: "name" }, id),
      element("span", { className: "weak" }, `${count} ${count === 1 ? "sample" : "samples"}, since ${new Date(created).toLocaleDateString()}`),
      element(
        "span",
        { className: "row" },
        element("button", { type: "button", className: "quiet", "aria-label": `Verify ${id}`, onclick: () => go("verify", id) }, "Verify"),
        element("button", { type: "button", className: "quiet", "aria-label": `Add a sample to ${id}`, onclick: () => adding.start(id) }, "Add sample"),
        element("button", { type: "button", className: "quiet danger", "aria-label": `Delete ${id}`, onclick: (event) => remove(event.currentTarget) }, "Delete"),
      ),
      trouble,
    );
    async function remove(button) {
      const text = "All samples of this person are deleted, of every model, and no copy of them can be brought back by this page.";
      if (!(await confirmed(`Delete ${id}?`, text, "Delete"))) return;
      const done = await busy(button, trouble, async () => {
        try {
          return await service.delete(`v1/subjects/${encodeURIComponent(id)}?receipt=true`);
        } catch (error) {
          if (error.code === "unknown_subject") return null; // another tab was faster
          throw error;
        }
      });
      if (trouble.querySelector(".problem")) return;
      showReceipt(id, done);
      await showPeople().then(refresh);
      document.getElementById("main").focus();
    }
    return item;
  }

  await showPeople();
  return {
    element: element(
      "div",
      {},
      element("h1", {}, "People"),
      element("p", { className: "lead" }, "Add somebody by voice or face; then verify that it is the same person, or find out who somebody is."),
      element("div", { className: "columns" }, adding.element, element("section", { className: "panel", "aria-labelledby": "enrolled" }, element("h2", { id: "enrolled" }, "Enrolled"), receipt, list)),
    ),
    drop: (files) => adding.drop(files),
    found: () => showPeople(),
    leave: () => {
      adding.release();
      if (receiptUrl) URL.revokeObjectURL(receiptUrl);
    },
  };
}

function addPanel({ service, models, go, added }) {
  const options = models.embedding;
  if (!options.length) {
    return { element: element("p", { className: "panel" }, "No served model can tell people or things apart."), start() {}, drop() {}, release() {} };
  }
  const name = element("input", { type: "text", maxLength: 256, autocomplete: "off", spellcheck: false, required: true, oninput: () => check() });
  const outcome = element("div", { role: "status" });
  const taken = new SampleList(() => check());
  const place = element("div");
  const consent = element("input", { type: "text", maxLength: 256, autocomplete: "off" });
  const purpose = element("input", { type: "text", maxLength: 256, autocomplete: "off" });
  const until = element("input", { type: "date" });
  const send = element("button", { type: "submit", className: "main", disabled: true }, "Enrol");
  let model;
  let intake;

  function choose(value) {
    intake?.release();
    taken.clear();
    model = models.named(value);
    intake = new Intake({ service, model, several: true, onsample: (sample) => taken.add(sample), done: model.how.capture === "camera" ? "Take the picture" : "Stop" });
    place.replaceChildren(intake.element);
  }

  function check() {
    send.disabled = !name.value.trim() || !taken.samples.length;
  }

  async function submit(event) {
    event.preventDefault();
    intake.release();
    const fields = {
      model: model.name,
      subject_id: name.value.trim(),
      file: taken.samples,
      on_error: taken.samples.length > 1 ? "skip" : null,
      consent: consent.value.trim() || null,
      purpose: purpose.value.trim() || null,
      expires_at: until.value ? new Date(`${until.value}T00:00`).toISOString() : null,
    };
    const done = await busy(send, outcome, () => service.post("v1/enroll", fields).catch(inPlainWords));
    check();
    if (!done) return;
    taken.clear();
    outcome.replaceChildren(enrolledBox(done, go));
    name.value = "";
    check();
    await added();
  }

  choose(options[0].name);
  const form = element(
    "form",
    { className: "panel", onsubmit: submit, "aria-labelledby": "add" },
    element("h2", { id: "add" }, "Add a person"),
    field("Name", name, "Letters, digits and . _ : @ -; two recordings or pictures of different days are better than one."),
    choices("By", options.map((one) => ({ value: one.name, label: one.label })), choose),
    place,
    taken.element,
    element(
      "details",
      {},
      element("summary", {}, "Consent, purpose and end"),
      field("Reference to the consent that was given", consent),
      field("What the enrolment is for", purpose),
      field("Deleted by itself on", until),
    ),
    element("p", { className: "buttons" }, send),
    outcome,
  );
  return {
    element: form,
    start(id) {
      name.value = id;
      check();
      form.scrollIntoView({ block: "start" });
      name.focus();
    },
    drop: (files) => intake.take(files),
    release: () => intake.release(),
  };
}

/** Throw a problem again, with what helps on this page. */
function inPlainWords(problem) {
  if (Object.hasOwn(HELP, problem.code)) problem.remedy = HELP[problem.code](problem);
  throw problem;
}

/** A name without what a name may not have, as a proposal; nothing where nothing is left of it. */
function shortened(typed) {
  const fitting = (typed ?? "").trim().replace(/[^\p{L}\p{N}._:@-]+/gu, "-").replace(/^-+|-+$/g, "");
  return fitting ? `Such as ${fitting}.` : "";
}

function enrolledBox(done, go) {
  const skipped = done.skipped ?? [];
  const similar = done.similar_subjects ?? [];
  return element(
    "div",
    { className: `verdict ${similar.length || skipped.length ? "unsure" : "good"}` },
    element("span", { className: "mark", "aria-hidden": "true" }, similar.length || skipped.length ? "!" : "✓"),
    element(
      "div",
      {},
      element("h2", {}, `${done.subject_id} is enrolled`),
      element("p", {}, `${done.template_count} ${done.template_count === 1 ? "sample" : "samples"} of ${done.model} in all.`),
      skipped.map((one) => element("p", {}, `Sample ${one.file} was left out: ${one.detail}`)),
      similar.length ? element("p", {}, `Much like ${similar.map((one) => one.subject_id).join(", ")}: the same person under two names?`) : null,
      element("p", { className: "buttons" }, element("button", { type: "button", onclick: () => go("verify", done.subject_id) }, "Try it: verify")),
    ),
  );
}
