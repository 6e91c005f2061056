/** Calls of the service's HTTP interface: the key, errors as the service says them, and a service that went away. */

const KEY = "matchka.key"; // in sessionStorage: one tab's, and gone with it
const TIMEOUT_MS = 60_000;
const LOOK_AGAIN_MS = 2_000;

/** What the service refused, in its own words: `detail` says what, `remedy` what helps. */
export class Problem extends Error {
  constructor(status, said, retryAfterS) {
    super(said.detail ?? `The service answered ${status}.`);
    this.status = status;
    this.code = said.code ?? "unknown";
    this.remedy = (said.remedy ?? "").replace("after the seconds in Retry-After", retryAfterS ? `in ${waitOf(retryAfterS)}` : "later");
    this.value = said.value ?? null;
  }
}

/** How long it is, as people say it. */
function waitOf(seconds) {
  return seconds <= 90 ? `${seconds} s` : `${Math.ceil(seconds / 60)} minutes`;
}

/** The service did not answer at all. */
export class Lost extends Error {
  constructor() {
    super("The service does not answer.");
    this.code = "lost";
    this.remedy = "It may be restarting; this page looks for it and goes on.";
  }
}

/** The service behind this page. Events: `lost`, `found`, and `key-needed` where it refused the key, or none was sent. */
export class Service extends EventTarget {
  #isLost = false;

  get key() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  set key(value) {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  }

  get(path) {
    return this.#call("GET", path);
  }

  delete(path) {
    return this.#call("DELETE", path);
  }

  /**
   * Send a form. Fields that are null or undefined are left out; lists are sent as several fields, blobs as files.
   * @param {string} path for example `v1/verify`
   * @param {Record<string, string | number | Blob | Array<Blob> | null | undefined>} fields
   */
  post(path, fields) {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) {
      for (const one of Array.isArray(value) ? value : [value]) {
        if (one instanceof Blob) form.append(name, one, one.name ?? "sample");
        else if (one !== null && one !== undefined) form.append(name, String(one));
      }
    }
    return this.#call("POST", path, form);
  }

  async #call(method, path, body) {
    const headers = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    let response;
    try {
      response = await fetch(path, { method, headers, body, signal: AbortSignal.timeout(TIMEOUT_MS), redirect: "error" });
    } catch {
      this.#lose();
      throw new Lost();
    }
    if (response.ok) return response.status === 204 ? null : response.json();
    const said = await response.json().catch(() => ({}));
    const problem = new Problem(response.status, said, Number(response.headers.get("Retry-After")) || null);
    if (response.status === 401) this.dispatchEvent(new CustomEvent("key-needed", { detail: problem }));
    throw problem;
  }

  #lose() {
    if (this.#isLost) return;
    this.#isLost = true;
    this.dispatchEvent(new Event("lost"));
    this.#lookAgain();
  }

  #lookAgain() {
    setTimeout(async () => {
      const ready = await fetch("readyz", { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => null);
      if (!ready?.ok) {
        this.#lookAgain();
        return;
      }
      this.#isLost = false;
      this.dispatchEvent(new Event("found"));
    }, LOOK_AGAIN_MS);
  }
}
