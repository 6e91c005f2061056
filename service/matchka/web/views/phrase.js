/** The spoken challenge: a fresh phrase, said within its time. */

import { Intake } from "../capture/intake.js";
import { busy, element } from "../elements.js";

const TICK_MS = 500;

/** A panel that gets a phrase, shows it large and sends what is said. */
export function phrasePanel({ service, model, subject, send }) {
  const outcome = element("div");
  const phrase = element("p", { className: "phrase", "aria-live": "assertive" });
  const left = element("p", { className: "weak number" });
  const place = element("div");
  const get = element("button", { type: "button", className: "main", onclick: () => ask() }, "Get a phrase");
  let intake = null;
  let ticking = null;
  let releases = 0; // counts them: who went on to something else gets no phrase

  async function ask() {
    const name = subject();
    if (!name) return;
    release();
    const before = releases;
    const given = await busy(get, outcome, () => service.post("v1/challenges", { subject_id: name }));
    if (!given || before !== releases) return;
    outcome.replaceChildren();
    phrase.textContent = given.phrase;
    intake = new Intake({ service, model, done: "Stop and verify", onsample: (sample) => answer(given, sample) });
    place.replaceChildren(intake.element);
    get.textContent = "Another phrase";
    const ends = Date.now() + secondsLeft(given) * 1000; // by this clock from here on: the service's may differ
    ticking = setInterval(() => {
      const seconds = Math.round((ends - Date.now()) / 1000);
      if (seconds > 0) left.textContent = `${seconds} s left`;
      else expire();
    }, TICK_MS);
  }

  function expire() {
    release();
    outcome.replaceChildren(element("p", {}, "The time for this phrase is over. Get another one."));
  }

  async function answer(given, sample) {
    release();
    await send({ file: sample, challenge_id: given.challenge_id }, get);
  }

  function release() {
    releases += 1;
    clearInterval(ticking);
    intake?.release();
    intake = null; // what is dropped later answers no phrase
    place.replaceChildren();
    phrase.textContent = "";
    left.textContent = "";
  }

  function drop(files) {
    if (intake) intake.take(files);
    else outcome.replaceChildren(element("p", {}, "Get a phrase first: a file that was made before cannot answer it."));
  }

  const panel = element("div", {}, element("p", { className: "weak" }, "You get a few words and say them. A recording made before cannot answer."), get, outcome, phrase, left, place);
  return { element: panel, release, drop };
}

/** What the service says of the time, where the clocks agree; its usual minute where they do not. */
function secondsLeft(given) {
  const seconds = (new Date(given.expires_at) - Date.now()) / 1000;
  return seconds > 0 && seconds <= 600 ? seconds : 60;
}
