/** The response of an equalizer's setting, by the names of its numbers: `<filter>_gain_db`, `_hz` and, where it has one, `_q`. */

const SHELF_Q = 0.71; // of shelves without a number of their own, as in matchka.client.presets
const GAIN = "_gain_db";

/** @returns {Array<{kind: string, gainDb: number, hz: number, q: number}>} empty where the numbers are of something else */
export function filtersOf(parameters) {
  return Object.keys(parameters)
    .filter((name) => name.endsWith(GAIN))
    .map((name) => name.slice(0, -GAIN.length))
    .filter((stem) => `${stem}_hz` in parameters)
    .map((stem) => ({
      kind: ["low_shelf", "high_shelf"].find((shelf) => stem.endsWith(shelf)) ?? "peak",
      gainDb: parameters[stem + GAIN],
      hz: parameters[`${stem}_hz`],
      q: parameters[`${stem}_q`] ?? SHELF_Q,
    }));
}

/**
 * The gain at a frequency, by the analogue prototypes of digital filters.
 * Source: R. Bristow-Johnson, Cookbook formulae for audio equalizer biquad filter coefficients.
 */
export function responseDb(filters, hz) {
  return filters.reduce((sum, filter) => sum + oneResponseDb(filter, hz), 0);
}

function oneResponseDb({ kind, gainDb, hz: centreHz, q }, hz) {
  const root = 10 ** (gainDb / 40);
  const w = kind === "high_shelf" ? centreHz / hz : hz / centreHz; // a high shelf is a low one turned round
  // both polynomials are real + i w slope
  if (kind === "peak") return magnitudeDb(1 - w * w, (w * root) / q, 1 - w * w, w / (root * q));
  const slope = (w * Math.sqrt(root)) / q;
  return 20 * Math.log10(root) + magnitudeDb(root - w * w, slope, 1 - root * w * w, slope);
}

function magnitudeDb(re, im, reBelow, imBelow) {
  return 20 * Math.log10(Math.hypot(re, im) / Math.hypot(reBelow, imBelow));
}
