/** Samples that were taken and not sent yet: heard or seen again, and thrown away. */

import { element } from "../elements.js";

/** A list of samples of one model. `onchange` is called when it grows or shrinks. */
export class SampleList {
  #urls = [];
  samples = [];

  constructor(onchange) {
    this.onchange = onchange;
    this.element = element("ul", { className: "samples", "aria-label": "Samples to send" });
  }

  add(sample) {
    const url = URL.createObjectURL(sample);
    this.#urls.push(url);
    this.samples.push(sample);
    const name = sample.name ?? `sample ${this.samples.length}`;
    const item = element(
      "li",
      {},
      previewOf(sample, url, name),
      element("button", { type: "button", className: "quiet", "aria-label": `Throw ${name} away`, onclick: () => remove() }, "✕"),
    );
    const remove = () => {
      this.samples.splice(this.samples.indexOf(sample), 1);
      URL.revokeObjectURL(url);
      item.remove();
      this.onchange();
    };
    this.element.append(item);
    this.onchange();
  }

  clear() {
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    this.#urls = [];
    this.samples = [];
    this.element.replaceChildren();
    this.onchange();
  }
}

function previewOf(sample, url, name) {
  if (sample.type.startsWith("audio/")) return element("audio", { src: url, controls: true, "aria-label": `Listen to ${name}` });
  if (sample.type.startsWith("image/")) return element("img", { src: url, alt: name });
  return element("span", {}, name);
}
