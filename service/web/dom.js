// Small things that every part of the page does with elements.

/**
 * Make an element.
 * @param {string} name of the element, with classes after dots: `p.hint.small`
 * @param {Object<string, any>} attributes those that are false, null or undefined are left out
 * @param {...(Node|string|number|null|undefined)} children
 */
export function make(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(key, value === true ? "" : value);
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A button that does something on this page. */
export function action(text, onclick, attributes = {}) {
  const button = make("button.quiet", { type: "button", ...attributes }, text);
  button.addEventListener("click", onclick);
  return button;
}

/** Buttons that put an example into the form and ask for it. */
export function chips(place, examples, onchoose) {
  for (const [name, value] of examples) {
    const button = make("button", { type: "button", dir: "auto" }, name);
    button.addEventListener("click", () => onchoose(value));
    place.append(button);
  }
}

/** Call `onask` when a form is submitted, or on Ctrl+Enter inside it. */
export function onAsk(form, onask) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    onask();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}

/** Choose `value` in a list, or its first entry where there is no such value. */
export function choose(select, value) {
  select.value = value ?? "";
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

/** Choose what an address names: what is not there is offered too, so that the service can say so. */
export function take(select, value) {
  choose(select, value);
  if (!value || select.value === value) return;
  select.append(new Option(value, value));
  select.value = value;
}

/** A number as the API wants it; what is none is left to it to refuse. */
export function numeric(text) {
  const number = Number(text);
  return Number.isNaN(number) ? text : number;
}

/** Give the person a file that was made on this page. */
export function save(name, type, content) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = make("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** Let a button say for a moment that it has done something. */
export function flash(button, text) {
  const before = button.dataset.text ?? button.textContent;
  button.dataset.text = before;
  button.textContent = text;
  clearTimeout(button.flashing);
  button.flashing = setTimeout(() => { button.textContent = before; }, 1500);
}
