/** The first samples of a radio recording, to draw them. What cannot be drawn is sent to the service all the same. */

const MOST_SAMPLES = 1 << 16;
const TAR_BLOCK = 512;
const MOST_TEXT = 1 << 15; // bytes of a header or description; longer ones are not drawn

/**
 * Read complex samples.
 * @param {Blob & {name?: string}} file
 * @param {string} format as the service names it, or "" for what the file's name says
 * @returns {Promise<{i: Float32Array, q: Float32Array} | null>} null where this page cannot draw it
 */
export async function readSamples(file, format) {
  const named = format || (file.name ?? "").split(".").at(-1).toLowerCase();
  const reader = READERS[named];
  if (!reader) return null;
  const view = new DataView(await file.slice(0, 16 * MOST_SAMPLES + 4 * TAR_BLOCK).arrayBuffer());
  try {
    return reader(view);
  } catch (error) {
    if (error instanceof RangeError || error instanceof SyntaxError) return null; // a file that ends early, or lies
    throw error;
  }
}

const FLOAT32 = { bytes: 4, read: (view, at) => view.getFloat32(at, true) };
const FLOAT64 = { bytes: 8, read: (view, at) => view.getFloat64(at, true) };
const UINT8 = { bytes: 1, read: (view, at) => view.getUint8(at) / 127.5 - 1 };
const INT16 = { bytes: 2, read: (view, at) => view.getInt16(at, true) / 32768 };

/** By the service's names of formats, which are also the names' ends. */
const READERS = {
  cf32: (view) => interleaved(view, 0, FLOAT32),
  ci16: (view) => interleaved(view, 0, INT16),
  cu8: (view) => interleaved(view, 0, UINT8),
  npy: readNpy,
  wav: readWav,
  sigmf: readSigmf,
};

function interleaved(view, from, { bytes, read }, stride = 2, until = view.byteLength) {
  const count = Math.min(MOST_SAMPLES, Math.floor((until - from) / (stride * bytes)));
  const i = new Float32Array(count);
  const q = new Float32Array(count);
  for (let n = 0; n < count; n += 1) {
    const at = from + n * stride * bytes;
    i[n] = read(view, at);
    q[n] = read(view, at + bytes);
  }
  return { i, q };
}

function textOf(view, at, length) {
  return String.fromCharCode(...new Uint8Array(view.buffer, at, Math.min(length, MOST_TEXT, view.byteLength - at)));
}

function readNpy(view) {
  if (textOf(view, 0, 6) !== "\u0093NUMPY") return null;
  const isOld = view.getUint8(6) === 1;
  const length = isOld ? view.getUint16(8, true) : view.getUint32(8, true);
  const begins = isOld ? 10 : 12;
  const numbers = { "<c8": FLOAT32, "<c16": FLOAT64 }[/'descr': '([^']*)'/.exec(textOf(view, begins, length))?.[1]];
  return numbers ? interleaved(view, begins + length, numbers) : null;
}

function readWav(view) {
  if (textOf(view, 0, 4) !== "RIFF") return null;
  let numbers = null;
  let channels = 0;
  for (let at = 12; at + 8 <= view.byteLength; ) {
    const name = textOf(view, at, 4);
    const length = view.getUint32(at + 4, true);
    if (name === "fmt ") {
      channels = view.getUint16(at + 10, true);
      numbers = { "1/16": INT16, "3/32": FLOAT32 }[`${view.getUint16(at + 8, true)}/${view.getUint16(at + 22, true)}`] ?? null;
    }
    if (name === "data") return numbers && channels === 2 ? interleaved(view, at + 8, numbers, 2, Math.min(view.byteLength, at + 8 + length)) : null;
    at += 8 + length + (length % 2);
  }
  return null;
}

/** A SigMF archive is a tar file of a description in JSON and the samples. */
function readSigmf(view) {
  const numbers = { cf32_le: FLOAT32, ci16_le: INT16, cu8: UINT8 };
  let kind = null;
  let data = null;
  for (let at = 0; at + TAR_BLOCK <= view.byteLength; ) {
    const name = textOf(view, at, 100).split("\0")[0];
    const length = parseInt(textOf(view, at + 124, 12), 8) || 0;
    const from = at + TAR_BLOCK;
    if (name.endsWith(".sigmf-meta")) kind = numbers[JSON.parse(textOf(view, from, length)).global?.["core:datatype"]] ?? null;
    if (name.endsWith(".sigmf-data")) data = { from, until: Math.min(view.byteLength, from + length) };
    at = from + TAR_BLOCK * Math.ceil(length / TAR_BLOCK);
  }
  return kind && data ? interleaved(view, data.from, kind, 2, data.until) : null;
}
