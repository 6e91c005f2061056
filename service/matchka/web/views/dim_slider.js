/** A slider over a model's dims, which says of each what it costs and gives. */

import { element, field } from "../elements.js";

const BYTES_OF_A_NUMBER = 4;

/** @param {object} model with dims; `value` is the dim that is chosen, the largest at first */
export class DimSlider {
  constructor(model) {
    this.model = model;
    const last = model.dims.length - 1;
    this.told = element("p", { className: "weak number" });
    this.input = element("input", { type: "range", min: "0", max: String(last), step: "1", value: String(last), oninput: () => this.#tell() });
    this.element = element("div", {}, field("Size of the embedding (dim)", this.input), this.told);
    this.#tell();
  }

  get value() {
    return this.model.dims[Number(this.input.value)];
  }

  #tell() {
    const dim = this.value;
    const text = costAndWorth(this.model, dim);
    this.input.setAttribute("aria-valuetext", text);
    this.told.textContent = text;
  }
}

function costAndWorth(model, dim) {
  const full = model.dims.at(-1);
  const errors = model.errorsAt(dim).map(({ domain, percent }) => `${percent.toFixed(1)} % (${domain})`);
  const less = dim === full ? "" : `, ${Math.round(full / dim)} times less to store and search`;
  return `${dim} of ${full} numbers: ${dim * BYTES_OF_A_NUMBER} bytes a person${less}. Equal error rate ${errors.join(", ")}.`;
}
