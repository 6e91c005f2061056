/** Elements out of data. Text is only ever text: nothing here, and nothing on the page, is read as HTML. */

const SVG = "http://www.w3.org/2000/svg";
let idCount = 0; // crypto.randomUUID() is there only over https or on this machine itself

/** An id, or a name of a group, that no other element of the page has. */
function freshId(prefix) {
  idCount += 1;
  return `${prefix}-${idCount}`;
}

/**
 * Make an element: names that begin with `on` are listeners, `data` fills the dataset, the rest are properties where
 * the element has them and attributes otherwise. Children that are null or false are left out.
 */
export function element(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same for SVG, where everything but listeners is an attribute. */
export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

function filled(made, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined));
  return made;
}

/** A labelled control in a block of its own. */
export function field(label, control, hint = null) {
  control.id ||= freshId("field");
  const described = hint && element("p", { className: "weak", id: `${control.id}-hint` }, hint);
  if (described) control.setAttribute("aria-describedby", described.id);
  return element("div", { className: "field" }, element("label", { htmlFor: control.id }, label), control, described);
}

/**
 * Choose one of several, as radio buttons.
 * @param {string} legend
 * @param {Array<{value: string, label: string}>} options the first is chosen
 * @param {(value: string) => void} onchange
 */
export function choices(legend, options, onchange) {
  const name = freshId("choice");
  const buttons = options.map(({ value, label }, number) =>
    element(
      "label",
      {},
      element("input", { type: "radio", name, value, checked: number === 0, onchange: () => onchange(value) }),
      label,
    ),
  );
  return element("fieldset", {}, element("legend", {}, legend), element("div", { className: "choices" }, buttons));
}

/** What went wrong, in the service's words. */
export function problemBox(error) {
  return element(
    "div",
    { className: "problem", role: "alert", data: { code: error.code ?? "failed" } },
    element("p", {}, element("strong", {}, error.message)),
    error.remedy ? element("p", {}, error.remedy) : null,
  );
}

/** Ask before something that cannot be undone. */
export function confirmed(title, text, yes) {
  const dialog = document.getElementById("ask-dialog");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-text").textContent = text;
  document.getElementById("ask-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Say something to who cannot see it change. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/**
 * Run a step that takes a while: its button is disabled meanwhile, and what goes wrong is shown in `place`.
 * @returns what the step returns, or null where it failed
 */
export async function busy(button, place, step) {
  button.disabled = true;
  place.replaceChildren(element("p", { className: "weak" }, "One moment …"));
  try {
    const done = await step();
    return done === undefined ? true : done;
  } catch (error) {
    place.replaceChildren(problemBox(error));
    return null;
  } finally {
    button.disabled = false;
  }
}
