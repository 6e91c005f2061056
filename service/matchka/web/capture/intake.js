/** How samples of one model come in: by microphone or camera where its kind has one, and as files always. */

import { element, problemBox, say } from "../elements.js";
import { Camera, lookWith } from "./camera.js";
import { DeviceError, LONGEST_S, Recording } from "./microphone.js";

const MOST_BYTES = 64 * 1024 * 1024; // read into memory when it is sent; the service's own limit is mostly lower
const WANTED_SPEECH_S = 4;
const LOUD_DB = -6;
const FAINT_DB = -45;
const LONGEST_LOOK_MS = 5 * 60_000; // a page that is left open does not film for a day

/**
 * A panel to take samples with.
 * @param {object} options
 * @param {import("../service/client.js").Service} options.service
 * @param {object} options.model whose samples they are
 * @param {(sample: Blob) => void} options.onsample called for each one
 * @param {boolean} options.several whether one drop may bring several files; otherwise the first one is taken
 * @param {string} options.done what the button says that ends a recording or takes a picture
 */
export class Intake {
  #release = () => {};
  #releases = 0; // counts them

  constructor({ service, model, onsample, done, several = false }) {
    this.service = service;
    this.model = model;
    this.onsample = onsample;
    this.done = done;
    this.several = several;
    this.trouble = element("div");
    this.input = element("input", {
      type: "file",
      multiple: several,
      accept: model.how.accept,
      "aria-label": `${model.how.label}: choose a file`,
      onchange: () => this.take(this.input.files),
    });
    const device = DEVICES[model.how.capture]?.(this);
    this.element = element(
      "div",
      {},
      device,
      element("div", { className: "drop" }, element("span", { className: "weak" }, device ? "or a file, here or dropped anywhere: " : "A file, here or dropped anywhere: "), this.input),
      this.trouble,
    );
  }

  /** Take files, as the input or a drop gives them. */
  take(files) {
    this.trouble.replaceChildren();
    for (const file of this.several ? files : [...files].slice(0, 1)) {
      if (file.size > MOST_BYTES) {
        const size = Math.round(file.size / 2 ** 20);
        this.fail({ code: "too_large", message: `${file.name} is too large: ${size} MiB.`, remedy: "A few seconds, or one picture, are enough." });
      } else {
        this.onsample(file);
      }
    }
    this.input.value = "";
  }

  /** Show what went wrong with a device or a file. */
  fail(error) {
    this.trouble.replaceChildren(problemBox(error));
  }

  /**
   * Open a device, or give it back at once where the panel was released while the browser asked for it: who has gone on
   * to something else is neither heard nor seen.
   * @param {() => Promise<{release: () => void}>} start
   * @returns the device, or null
   */
  async open(start) {
    const before = this.#releases;
    const device = await start();
    if (before === this.#releases) return device;
    device.release();
    return null;
  }

  /** Say how the device that is in use is given back. */
  holds(release) {
    this.#release = release;
  }

  /** Give the device back; the panel can be used again. */
  release() {
    this.#releases += 1;
    this.#release();
    this.#release = () => {};
  }
}

/** Panels of devices by the name that a kind of sample has in `capture`: a row for each. */
const DEVICES = { microphone: microphonePanel, camera: cameraPanel };

function microphonePanel(intake) {
  const fill = element("span");
  const meter = element("div", { className: "meter", "aria-hidden": "true" }, fill);
  const told = element("p", { className: "advice number", role: "status" });
  const button = element("button", { type: "button", className: "main", onclick: () => (recording ? stop() : start()) }, "Record");
  let recording = null;
  let isDue = false;
  let isFull = false;

  function show(level) {
    if (recording && level.seconds >= LONGEST_S) end();
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      if (!recording || isFull) return;
      fill.style.width = `${Math.max(0, Math.min(100, 100 + (100 / 60) * level.nowDb))}%`;
      meter.classList.toggle("hot", level.nowDb > LOUD_DB);
      meter.classList.toggle("faint", level.nowDb < FAINT_DB);
      const text = `${level.speechSeconds.toFixed(0)} s of speech. ${level.advice(WANTED_SPEECH_S) || "That is enough; stop when you like."}`;
      if (told.textContent !== text) told.textContent = text;
    });
  }

  /** The longest there is: nothing more is heard, and nothing is sent before somebody wants it. */
  function end() {
    isFull = true;
    recording.release();
    fill.style.width = "0";
    told.textContent = `${LONGEST_S} s are recorded, and no more fits. Press “${intake.done}”.`;
  }

  async function start() {
    intake.trouble.replaceChildren();
    button.disabled = true;
    isFull = false;
    try {
      recording = await intake.open(() => Recording.start(show));
      if (!recording) return;
      intake.holds(() => {
        recording?.release();
        recording = null;
        rest();
      });
      button.textContent = intake.done;
      told.textContent = "Speak as you usually do.";
    } catch (error) {
      intake.fail(error);
    } finally {
      button.disabled = false;
    }
  }

  async function stop() {
    const ended = recording;
    recording = null;
    rest();
    const sample = await ended.stop();
    say("Recorded.");
    intake.onsample(sample);
  }

  function rest() {
    button.textContent = "Record";
    fill.style.width = "0";
    told.textContent = "";
  }

  return element("div", { className: "field" }, element("div", { className: "row" }, button, element("div", { className: "grow" }, meter)), told);
}

function cameraPanel(intake) {
  const stage = element("div", { className: "stage mirrored", hidden: true });
  const told = element("p", { className: "advice", role: "status" });
  const button = element("button", { type: "button", className: "main", onclick: () => (camera ? take() : start()) }, "Start the camera");
  let camera = null;
  let ending = null;

  async function start() {
    intake.trouble.replaceChildren();
    button.disabled = true;
    stage.hidden = false;
    try {
      const opened = await intake.open(() => Camera.start(stage));
      camera = opened;
      if (!opened) {
        stage.hidden = true;
        return;
      }
      intake.holds(() => {
        clearTimeout(ending);
        camera?.release();
        camera = null;
        stage.replaceChildren();
        stage.hidden = true;
        told.textContent = "";
        button.textContent = "Start the camera";
      });
      ending = setTimeout(() => {
        intake.release();
        intake.fail(new DeviceError("The camera was switched off: it was on for five minutes.", "Start it again."));
      }, LONGEST_LOOK_MS);
      button.textContent = intake.done;
      opened.watch(lookWith(intake.service, intake.model), (advice) => {
        if (told.textContent !== advice) told.textContent = advice;
      });
    } catch (error) {
      stage.hidden = true;
      intake.fail(error);
    } finally {
      button.disabled = false;
    }
  }

  async function take() {
    const picture = await camera.frame();
    say("Picture taken.");
    intake.onsample(picture);
  }

  return element("div", { className: "field" }, stage, told, button);
}
