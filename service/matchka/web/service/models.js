/** What the service offers, as GET /v1/models tells it. */

/** How samples of each kind of input come into being here, by the manifest's `input.kind`: a row for each. */
export const KINDS = {
  audio: { label: "Voice", capture: "microphone", accept: "audio/*,.wav,.flac,.ogg,.opus,.mp3", isPerson: true },
  face: { label: "Face", capture: "camera", accept: "image/jpeg,image/png,image/webp,image/bmp", isPerson: true, several: { field: "face", value: "all", label: "Every face in the picture" } },
  iq: { label: "Radio signal", capture: null, accept: ".cf32,.ci16,.cu8,.npy,.wav,.sigmf", isPerson: false },
  tabular: { label: "Named numbers", capture: null, accept: "application/json,.json", isPerson: false },
};
/** The fusion that HTTP v1 knows: its name, and the field of each part by the name of its model. */
const FUSION = { name: "voice+face", label: "Voice and face", fields: { voice: "voice_file", face: "face_file" } };
const OLDER_NAMES = { image: "face" }; // of manifests of schema 1

/** A served bundle: `raw` is the service's own answer. */
class Model {
  constructor(raw) {
    this.raw = raw;
    this.name = raw.name;
    this.kind = OLDER_NAMES[raw.input_kind] ?? raw.input_kind;
    this.dims = raw.dims;
  }

  get how() {
    return KINDS[this.kind] ?? { label: this.kind, capture: null, accept: "", isPerson: false };
  }

  /** What people choose: a kind's first model goes by the kind. */
  get label() {
    return this.how.label.toLowerCase() === this.name ? this.how.label : `${this.how.label} (${this.name})`;
  }

  get embeds() {
    return this.dims.length > 0;
  }

  outputOf(kind) {
    return Object.values(this.raw.outputs).find((output) => output.kind === kind) ?? null;
  }

  /** EER in per cent at one dim, by domain; the worst last. */
  errorsAt(dim) {
    const metrics = this.raw.per_dim[String(dim)]?.metrics ?? {};
    return Object.entries(metrics)
      .map(([domain, figures]) => ({ domain, percent: 100 * figures.eer }))
      .sort((one, other) => one.percent - other.percent);
  }
}

/** Every current model, and what follows from having several of them. */
export class Models {
  constructor(answer) {
    this.challenges = answer.challenges ?? []; // a replica that is older does not say
    this.all = answer.models.filter((raw) => raw.current).map((raw) => new Model(raw));
  }

  named(name) {
    return this.all.find((model) => model.name === name) ?? null;
  }

  /** Those that samples can be enrolled with and compared by; people's own first. */
  get embedding() {
    return this.all.filter((model) => model.embeds).sort((a, b) => b.how.isPerson - a.how.isPerson || (a.name < b.name ? 1 : -1));
  }

  /**
   * Two models whose samples are verified together, or null. The service lists no fusions: where both parts are served
   * it is offered, and a service without the fusion says so itself.
   */
  get joint() {
    const parts = Object.entries(FUSION.fields).map(([name, field]) => ({ field, model: this.named(name) }));
    return parts.every(({ model }) => model?.embeds) ? { ...FUSION, parts } : null;
  }

  withOutput(kind, inputKind = null) {
    return this.all.filter((model) => model.outputOf(kind) && (inputKind === null || model.kind === inputKind));
  }

  /** How many are enrolled, by the model that knows them: nobody counts whom several models know. */
  get enrolled() {
    const known = this.embedding.filter(({ raw }) => raw.subjects > 0);
    return known.map(({ name, raw }) => `${name} ${raw.subjects.toLocaleString("en")}`).join(", ") || "nobody";
  }
}
