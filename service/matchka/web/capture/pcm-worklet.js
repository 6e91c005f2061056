/** Hands what the microphone hears to the page, in blocks of the worklet's own size. */
registerProcessor(
  "pcm",
  class extends AudioWorkletProcessor {
    process([channels]) {
      if (channels.length) this.port.postMessage(channels[0].slice());
      return true;
    }
  },
);
