/** The power spectrum of complex samples. */

/**
 * Power over frequency in dB of the strongest, by averaging windows that overlap by half (Welch).
 * @param {{i: Float32Array, q: Float32Array}} samples at least `size` of them
 * @param {number} size points, a power of two
 * @returns {Float64Array} from minus half the sample rate upwards; empty where there are too few samples
 */
export function spectrumDb({ i, q }, size = 512) {
  if (i.length < size) return new Float64Array(0);
  const power = new Float64Array(size);
  const window = Float64Array.from({ length: size }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
  for (let from = 0; from + size <= i.length; from += size / 2) {
    const re = Float64Array.from({ length: size }, (_, n) => i[from + n] * window[n]);
    const im = Float64Array.from({ length: size }, (_, n) => q[from + n] * window[n]);
    transform(re, im);
    for (let n = 0; n < size; n += 1) power[n] += re[n] * re[n] + im[n] * im[n];
  }
  const most = Math.max(...power, Number.MIN_VALUE);
  // negative frequencies stand behind the positive ones
  return power.map((_, n) => 10 * Math.log10(Math.max(power[(n + size / 2) % size] / most, 1e-12)));
}

/** The discrete Fourier transform in place; the length is a power of two. */
export function transform(re, im) {
  const size = re.length;
  for (let n = 1, swapped = 0; n < size; n += 1) {
    let bit = size >> 1;
    for (; swapped & bit; bit >>= 1) swapped ^= bit;
    swapped ^= bit;
    if (n < swapped) {
      [re[n], re[swapped]] = [re[swapped], re[n]];
      [im[n], im[swapped]] = [im[swapped], im[n]];
    }
  }
  for (let length = 2; length <= size; length *= 2) {
    for (let from = 0; from < size; from += length) {
      for (let k = 0; k < length / 2; k += 1) {
        const angle = (-2 * Math.PI * k) / length;
        const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
        const [one, other] = [from + k, from + k + length / 2];
        const x = re[other] * cos - im[other] * sin;
        const y = re[other] * sin + im[other] * cos;
        [re[other], im[other]] = [re[one] - x, im[one] - y];
        re[one] += x;
        im[one] += y;
      }
    }
  }
}
