// The form for a new job: its kind, its settings, and the files that are uploaded for it.

import { ask, Problem, tell } from "../api.js";
import { make } from "../dom.js";
import { upload } from "../upload.js";
import { KINDS } from "./kinds.js";

export class SubmitForm {
  /** @param {(job: Object) => void} onmade told the job that was made */
  constructor(onmade) {
    this.onmade = onmade;
    this.form = document.querySelector("#submit");
    this.place = document.querySelector("#submit-fields");
    this.problem = document.querySelector("#submit-problem");
    this.said = document.querySelector("#submit-said");
    const { kind } = this.form.elements;
    kind.replaceChildren(...Object.entries(KINDS).map(([name, { title }]) => new Option(title, name)));
    kind.addEventListener("change", () => this.show());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    this.show();
  }

  get kind() {
    return this.form.elements.kind.value;
  }

  show() {
    const { hint, more, fields } = KINDS[this.kind];
    document.querySelector("#submit-hint").textContent = hint;
    this.form.elements.more.placeholder = more;
    this.place.replaceChildren(...fields.map(row));
  }

  async run() {
    const button = this.form.querySelector("[type=submit]");
    button.disabled = true;
    tell(this.problem, null);
    this.sent = [];
    try {
      const { more, name } = this.form.elements;
      const added = read(more.value, KINDS[this.kind]);
      const settings = { ...KINDS[this.kind].settings(await this.values()), ...added };
      const title = name.value.trim();
      const job = await ask("v1/jobs", { kind: this.kind, ...(title && { name: title }), settings });
      this.form.reset();
      this.show();
      this.form.closest("details").open = false;
      this.onmade(job);
    } catch (error) {
      tell(this.problem, error);
      await this.takeBack();
    }
    this.said.textContent = "";
    button.disabled = false;
  }

  /** What was filled in; files are uploaded on the way. */
  async values() {
    const values = {};
    for (const field of KINDS[this.kind].fields) {
      const value = await this.value(field, this.form.elements[`setting-${field.name}`]);
      if (value !== null) values[field.name] = value;
    }
    return values;
  }

  async value({ type }, input) {
    if (type === "file") return input.files.length ? this.send(input.files[0]) : null;
    const text = input.value.trim();
    if (!text) return null;
    return type === "number" ? Number(text) : text;
  }

  async send(file) {
    const { id } = await upload(file, (share) => {
      this.said.textContent = `Uploading ${file.name}: ${Math.round(share * 100)} %`;
    });
    this.sent.push(id);
    return `upload:${id}`;
  }

  /** Files that no job was made of are not kept. */
  async takeBack() {
    for (const id of this.sent) await ask(`v1/uploads/${id}`, undefined, "DELETE").catch(() => {});
  }
}

/** More settings, as a JSON object. */
function read(text, { more }) {
  if (!text.trim()) return {};
  try {
    const value = JSON.parse(text);
    if (value && typeof value === "object" && !Array.isArray(value)) return value;
  } catch { /* told below */ }
  throw new Problem(`More settings are a JSON object, such as ${more}.`);
}

function row(field) {
  const id = `setting-${field.name}`;
  const label = make("label", { for: id }, field.label);
  const hint = field.hint ? make("span.hint", { id: `${id}-hint` }, field.hint) : null;
  return make("p", {}, label, input(field, id), hint);
}

function input({ type, choices, needed, value, hint }, id) {
  const common = { id, name: id, required: needed, "aria-describedby": hint ? `${id}-hint` : null };
  if (type === "choice") return make("select", common, ...choices.map((choice) => new Option(choice, choice)));
  if (type === "number") return make("input", { ...common, type: "number", step: "any", value });
  return make("input", { ...common, type, value, autocomplete: "off" });
}
