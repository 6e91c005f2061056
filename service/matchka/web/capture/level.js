/** How loud a recording is, how much of it sounds like speech, and what would make it better. */

const FRAME_S = 0.02;
const FLOOR_SHARE = 0.1; // this share of the frames is taken for what is heard while nobody speaks
const ABOVE_FLOOR_DB = 10;
const LEAST_SPEECH_DB = -50; // of full scale: below it nothing counts as speech, however quiet the room
const FAINT_DB = -38;
const CLIPPED = 0.99;
const MOST_CLIPPED = 0.002; // share of the samples

/** Figures of a recording while it grows. A guess that helps while one speaks: the service decides on its own. */
export class Level {
  #frameLength;
  #rest = [];
  #energies = [];
  #clipped = 0;
  #count = 0;

  constructor(sampleRateHz) {
    this.sampleRateHz = sampleRateHz;
    this.#frameLength = Math.round(FRAME_S * sampleRateHz);
  }

  /** @param {Float32Array} block what was heard since the last one */
  add(block) {
    this.#count += block.length;
    for (const value of block) {
      if (Math.abs(value) >= CLIPPED) this.#clipped += 1;
      this.#rest.push(value);
    }
    while (this.#rest.length >= this.#frameLength) {
      const frame = this.#rest.splice(0, this.#frameLength);
      this.#energies.push(decibels(frame.reduce((sum, value) => sum + value * value, 0) / frame.length));
    }
  }

  get seconds() {
    return this.#count / this.sampleRateHz;
  }

  /** Of the last frame, in dB of full scale. */
  get nowDb() {
    return this.#energies.at(-1) ?? -Infinity;
  }

  get speechSeconds() {
    return this.#spoken().length * FRAME_S;
  }

  /** What to do better, for `wantedS` seconds of speech; empty where nothing is. */
  advice(wantedS) {
    const spoken = this.#spoken();
    if (this.#count && this.#clipped / this.#count > MOST_CLIPPED) return "Too loud: it is clipped. Move away from the microphone a little.";
    if (this.seconds > 1 && !spoken.length) return "Nothing is heard. Is this the right microphone, and is it on?";
    if (spoken.length && mean(spoken) < FAINT_DB) return "Quiet. Come closer to the microphone.";
    const missing = wantedS - this.speechSeconds;
    return missing > 0 ? `Keep speaking: about ${Math.ceil(missing)} s more.` : "";
  }

  #spoken() {
    const sorted = [...this.#energies].sort((a, b) => a - b);
    const floor = sorted[Math.floor(FLOOR_SHARE * sorted.length)] ?? -Infinity;
    const top = sorted[Math.floor(0.95 * sorted.length)] ?? -Infinity;
    // where there is no pause to tell a floor by, what is loud is speech
    const least = Math.max(LEAST_SPEECH_DB, Math.min(floor + ABOVE_FLOOR_DB, top - ABOVE_FLOOR_DB));
    return this.#energies.filter((energy) => energy >= least);
  }
}

function decibels(power) {
  return power > 0 ? 10 * Math.log10(power) : -Infinity;
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
