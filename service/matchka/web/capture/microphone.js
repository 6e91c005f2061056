/** Recording: 16 kHz mono WAV of what the microphone hears, as the service wants it. */

import { Level } from "./level.js";
import { wavOf } from "./wav.js";

const SAMPLE_RATE_HZ = 16000;
export const LONGEST_S = 30;

/** What a device could not do; `remedy` is for who sits before it. */
export class DeviceError extends Error {
  constructor(message, remedy) {
    super(message);
    this.code = "device";
    this.remedy = remedy;
  }
}

/**
 * Ask the browser for a device.
 * @param {MediaStreamConstraints} wanted
 * @param {string} name for people, such as "microphone"
 */
export async function openDevice(wanted, name) {
  if (!navigator.mediaDevices) {
    throw new DeviceError(
      `Browsers give the ${name} only to pages over https, or of this machine itself.`,
      "Open the page by https or as localhost, or drop a file here.",
    );
  }
  try {
    return await navigator.mediaDevices.getUserMedia(wanted);
  } catch (error) {
    const refused = error.name === "NotAllowedError";
    throw new DeviceError(
      refused ? `The browser may not use the ${name}.` : `There is no ${name} that can be used (${error.name}).`,
      refused ? "Allow it beside the address, or drop a file here." : "Connect one, or drop a file here.",
    );
  }
}

/** A recording that runs. Make one by `Recording.start()`; `level` tells of it, `onlevel` is called as it grows. */
export class Recording {
  #stream;
  #context;
  #blocks = [];

  static async start(onlevel) {
    const plain = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const recording = new Recording();
    recording.#stream = await openDevice({ audio: plain }, "microphone");
    try {
      await recording.#listen(onlevel);
    } catch (error) {
      recording.release();
      throw error;
    }
    return recording;
  }

  async #listen(onlevel) {
    let source;
    try {
      this.#context = new AudioContext({ sampleRate: SAMPLE_RATE_HZ });
      source = this.#context.createMediaStreamSource(this.#stream);
    } catch {
      // a browser that does not resample microphones: the rate is changed at the end
      await this.#context?.close();
      this.#context = new AudioContext();
      source = this.#context.createMediaStreamSource(this.#stream);
    }
    await this.#context.audioWorklet.addModule(new URL("./pcm-worklet.js", import.meta.url));
    this.level = new Level(this.#context.sampleRate);
    const worklet = new AudioWorkletNode(this.#context, "pcm", { numberOfOutputs: 0 });
    worklet.port.onmessage = ({ data }) => {
      if (this.level.seconds >= LONGEST_S) return;
      this.#blocks.push(data);
      this.level.add(data);
      onlevel(this.level);
    };
    source.connect(worklet);
  }

  /** End it. @returns {Promise<Blob>} the whole recording as WAV */
  async stop() {
    const rate = this.#context.sampleRate;
    this.release();
    const length = this.#blocks.reduce((sum, block) => sum + block.length, 0);
    const samples = new Float32Array(length);
    let at = 0;
    for (const block of this.#blocks) {
      samples.set(block, at);
      at += block.length;
    }
    return wavOf(rate === SAMPLE_RATE_HZ ? samples : await resampled(samples, rate), SAMPLE_RATE_HZ);
  }

  /** Give the microphone back. */
  release() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    if (this.#context?.state !== "closed") this.#context?.close();
  }
}

async function resampled(samples, fromHz) {
  if (!samples.length) return samples;
  const offline = new OfflineAudioContext(1, Math.ceil((samples.length * SAMPLE_RATE_HZ) / fromHz), SAMPLE_RATE_HZ);
  const buffer = offline.createBuffer(1, samples.length, fromHz);
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(offline, { buffer });
  source.connect(offline.destination);
  source.start();
  return (await offline.startRendering()).getChannelData(0);
}
