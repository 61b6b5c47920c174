// The methods as GET /v1/methods lists them: those used most as buttons, all others in one list.

const COMMON = "Most used"; // as aligners/explanations.py has it

export class MethodChoice {
  constructor(onchange) {
    this.buttons = document.querySelector("#methods");
    this.more = document.querySelector("#more");
    this.hint = document.querySelector("#method-hint");
    this.explanations = new Map();
    this.chosen = null;
    this.own = null; // the model's
    const choose = (event) => {
      if (!event.target.value) return;
      this.choose(event.target.value);
      onchange();
    };
    this.buttons.addEventListener("change", choose);
    this.more.addEventListener("change", choose);
  }

  get names() {
    return [...this.explanations.keys()];
  }

  /** Show `methods`; the first choice is the model's own, which may have settings. */
  offer({ default: own, methods }) {
    this.own = own;
    const all = [...methods];
    if (!all.some(({ name }) => name === own)) {
      const { explanation } = all.find(({ name }) => name === own.split(":")[0]);
      all.push({ name: own, group: "The model's own", explanation });
    }
    this.explanations = new Map(all.map(({ name, explanation }) => [name, explanation]));
    const groups = new Map();
    for (const one of all) groups.set(one.group, [...(groups.get(one.group) ?? []), one]);
    this.buttons.replaceChildren(...(groups.get(COMMON) ?? []).map(button));
    groups.delete(COMMON);
    const none = new Option("more…", "");
    none.hidden = true;
    this.more.replaceChildren(none, ...[...groups].map(list));
    this.more.hidden = groups.size === 0;
    this.choose(own);
  }

  /** Choose a method; one that is not listed may have settings. */
  choose(name) {
    if (!this.explanations.has(name)) this.add(name);
    this.chosen = name;
    for (const input of this.buttons.querySelectorAll("input")) input.checked = input.value === name;
    this.more.value = name;
    if (this.more.selectedIndex < 0) this.more.value = "";
    this.more.classList.toggle("chosen", this.more.value !== "");
    this.hint.textContent = this.explanations.get(name);
  }

  /** A method as an address names it: `itermax:alpha=0.8`. */
  add(name) {
    this.explanations.set(name, this.explanations.get(name.split(":")[0]) ?? "");
    this.more.append(new Option(name, name));
    this.more.hidden = false;
  }
}

function button({ name, explanation }) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "method", value: name });
  const text = document.createElement("span");
  text.textContent = name;
  label.title = explanation;
  label.append(input, text);
  return label;
}

function list([group, methods]) {
  const place = document.createElement("optgroup");
  place.label = group;
  place.append(...methods.map(({ name }) => new Option(name, name)));
  return place;
}
