/** The challenge of kind head_turn: look ahead, then to one side and to the other, while pictures are taken. */

import { Camera } from "../capture/camera.js";
import { busy, element, problemBox } from "../elements.js";

const PAUSE_MS = 700;
const BEFORE_MS = 1500; // to read where to look
const PICTURES = { first: 1, other: 3 }; // of each direction; the service takes 3 to 8
const SAID = { centre: "Look straight ahead", left: "Turn your head to your left", right: "Turn your head to your right" };

/** A panel that shows directions and takes pictures meanwhile. */
export function headTurnPanel({ service, subject, send }) {
  const outcome = element("div");
  const stage = element("div", { className: "stage mirrored", hidden: true });
  const direction = element("p", { className: "phrase", "aria-live": "assertive" });
  const begin = element("button", { type: "button", className: "main", onclick: () => run() }, "Begin");
  let camera = null;
  let releases = 0; // counts them

  async function run() {
    const name = subject();
    if (!name) return;
    release();
    const before = releases;
    const hasLeft = () => before !== releases;
    let pictures = [];
    const given = await busy(begin, outcome, async () => {
      const opened = await Camera.start(stage);
      if (hasLeft()) {
        opened.release(); // who went on to something else is not filmed
        return null;
      }
      camera = opened;
      stage.hidden = false;
      return service.post("v1/challenges", { subject_id: name, kind: "head_turn" });
    });
    if (!given || hasLeft()) {
      release();
      return;
    }
    outcome.replaceChildren();
    begin.disabled = true;
    try {
      pictures = await takePictures(given.directions);
    } catch (error) {
      outcome.replaceChildren(problemBox(error));
    }
    release();
    begin.disabled = false;
    if (pictures.length) await send({ file: pictures, challenge_id: given.challenge_id }, begin);
  }

  async function takePictures(directions) {
    const taken = [];
    for (const [number, where] of directions.entries()) {
      direction.textContent = SAID[where] ?? where;
      await pause(BEFORE_MS);
      for (let left = number ? PICTURES.other : PICTURES.first; left && camera; left -= 1) {
        taken.push(await camera.frame());
        await pause(PAUSE_MS);
      }
    }
    return camera ? taken : []; // who left meanwhile sends nothing
  }

  function release() {
    releases += 1;
    camera?.release();
    camera = null;
    stage.replaceChildren();
    stage.hidden = true;
    direction.textContent = "";
  }

  const hint = "Experimental: flat prints fail it, videos and masks do not. How often it refuses people is not measured.";
  return { element: element("div", {}, element("p", { className: "weak" }, hint), begin, outcome, direction, stage), release };
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
