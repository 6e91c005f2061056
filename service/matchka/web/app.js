/** Starts the page: what is served, which view is shown, the key, dropped files, and a service that goes away. */

import { element, problemBox } from "./elements.js";
import { Service } from "./service/client.js";
import { Models } from "./service/models.js";
import { equalizerView } from "./views/equalizer.js";
import { identifyView } from "./views/identify.js";
import { modelsView } from "./views/models.js";
import { peopleView } from "./views/people.js";
import { radioView } from "./views/radio.js";
import { verifyView } from "./views/verify.js";

/** Views by their part of the address: a row for each; `fits` tells whether what is served has a use for it. */
const VIEWS = {
  people: { label: "People", show: peopleView, fits: () => true },
  verify: { label: "Verify", show: verifyView, fits: () => true },
  identify: { label: "Identify", show: identifyView, fits: () => true },
  radio: { label: "Radio", show: radioView, fits: (models) => models.withOutput("class", "iq").length > 0 },
  equalizer: { label: "Equalizer", show: equalizerView, fits: (models) => models.withOutput("parameters", "tabular").length > 0 },
  models: { label: "Models", show: modelsView, fits: () => true },
};
const START = "people";
const REFRESH_MS = 60_000;

const service = new Service();
const main = document.getElementById("main");
const lost = document.getElementById("lost");
let models = null;
let view = null;
let shown = 0; // counts views, so that one that was slow to load does not replace a later one

async function refresh() {
  models = new Models(await service.get("v1/models"));
  document.getElementById("state").textContent = `Ready: ${models.all.length} models. Enrolled: ${models.enrolled}`;
}

function go(name, argument = "") {
  location.hash = argument ? `${name}/${encodeURIComponent(argument)}` : name;
}

async function show() {
  const [name, argument] = location.hash.slice(1).split("/");
  if (name === "main" && view) return; // the link over the navigation
  const chosen = Object.hasOwn(VIEWS, name) ? VIEWS[name] : VIEWS[START];
  const turn = ++shown;
  const isFirst = turn === 1;
  view?.leave?.();
  view = null;
  try {
    if (!models) await refresh();
    const made = await chosen.show({ service, models, refresh, go, argument: decoded(argument) });
    if (turn !== shown) {
      made.leave?.();
      return;
    }
    view = made;
    main.replaceChildren(made.element);
  } catch (error) {
    if (turn === shown) main.replaceChildren(element("h1", {}, chosen.label), problemBox(error), again());
    document.getElementById("state").textContent = models ? "Ready" : "Not ready";
  }
  document.title = `${chosen.label} · matchka`;
  showTabs(chosen);
  if (!isFirst && turn === shown) focusHeading();
}

/** Go on where the new view begins: a screen reader says its name, and the next Tab is its first control. */
function focusHeading() {
  const heading = main.querySelector("h1");
  if (!heading || document.querySelector("dialog[open]")) return;
  heading.tabIndex = -1;
  heading.focus();
}

/** A part of the address as text, as it was typed where it is not well-formed. */
function decoded(part) {
  try {
    return part ? decodeURIComponent(part) : null;
  } catch {
    return part;
  }
}

function again() {
  return element("p", { className: "buttons" }, element("button", { type: "button", onclick: show }, "Try again"));
}

function showTabs(chosen) {
  const fitting = Object.entries(VIEWS).filter(([, each]) => !models || each.fits(models));
  document.getElementById("tabs").replaceChildren(
    ...fitting.map(([name, each]) => element("li", {}, element("a", { href: `#${name}`, "aria-current": each === chosen ? "page" : null }, each.label))),
  );
}

function askForKey(why = null) {
  const dialog = document.getElementById("key-dialog");
  const typed = document.getElementById("key-field");
  if (dialog.open) return;
  if (why) document.getElementById("key-why").textContent = `${why} It is kept in this tab only, and forgotten when you close it.`;
  typed.value = service.key;
  dialog.returnValue = "cancel";
  dialog.addEventListener(
    "close",
    () => {
      if (dialog.returnValue === "cancel") {
        if (why) models = null; // ask again with the next view, and not every minute
        return;
      }
      service.key = dialog.returnValue === "use" ? typed.value.trim() : "";
      typed.value = "";
      models = null;
      show();
    },
    { once: true },
  );
  dialog.showModal();
}

function acceptDrops() {
  const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    document.body.classList.remove("dropping");
    view?.drop?.(event.dataTransfer.files);
  });
}

service.addEventListener("lost", () => {
  lost.textContent = "The service does not answer. It may be restarting; this page goes on when it is back.";
  lost.hidden = false;
  document.getElementById("state").textContent = "Not connected";
});
service.addEventListener("found", async () => {
  lost.hidden = true;
  document.querySelectorAll('.problem[data-code="lost"]').forEach((problem) => problem.remove());
  await refresh().catch(() => null);
  if (view) view.found?.();
  else show();
});
service.addEventListener("key-needed", ({ detail }) => {
  document.getElementById("state").textContent = "A key is needed";
  askForKey(`${detail.message} ${detail.remedy}`);
});
document.getElementById("key-button").addEventListener("click", () => askForKey());
addEventListener("hashchange", show);
addEventListener("pagehide", () => view?.leave?.());
setInterval(() => {
  if (!document.hidden && models) refresh().catch(() => null);
}, REFRESH_MS);
acceptDrops();
show();
