// Text in, its translation out: one a line, with other hypotheses and the links between the words.

import { ask, latest, tell, tellAbsent } from "../api.js";
import { models } from "../catalogue.js";
import { action, choose, flash, make, numeric, onAsk, take } from "../dom.js";
import { Drawing } from "../drawing/links.js";
import { counted, direction, nameOf } from "../text.js";

const ABSENT = "This service does not translate: it has no /v1/translate.";
const NONE = "No translation model is here yet. Train one, or name one in BITEXT_TRANSLATION_MODELS.";
const NUMBERS = ["beam_size", "n_best"];

export class TranslateView {
  /** @param {(state: Object) => void} note told the state of what is shown */
  constructor(note) {
    this.note = note;
    this.form = document.querySelector("#translate");
    this.fields = this.form.elements;
    this.problem = document.querySelector("#translate-problem");
    this.said = document.querySelector("#translate-said");
    this.results = document.querySelector("#translations");
    this.models = new Map();
    this.ask = latest((request) => ask("v1/translate", request));
    onAsk(this.form, () => this.run());
    this.fields.model.addEventListener("change", () => this.describe());
  }

  async open(state) {
    if (state.has("text")) this.fields.text.value = state.get("text");
    if (!(await this.learn())) return;
    if (!state.has("text") || state.toString() === this.state) return;
    take(this.fields.model, state.get("model"));
    this.describe();
    for (const name of ["source_lang", "target_lang"]) take(this.fields[name], state.get(name));
    for (const name of NUMBERS) take(this.fields[name], state.get(name) ?? this.fields[name].value);
    this.fields.align.checked = state.get("align") !== "no";
    await this.run();
  }

  /** Learn which models there are. */
  async learn() {
    try {
      const { translators } = await models();
      const names = translators.map(({ name }) => name);
      if (names.join() !== [...this.models.keys()].join()) {
        this.fields.model.replaceChildren(...names.map((name) => new Option(name, name)));
      }
      this.models = new Map(translators.map((model) => [model.name, model]));
      this.describe();
      this.form.classList.toggle("empty", !names.length);
      this.said.textContent = names.length ? "" : NONE;
      tell(this.problem, null);
      return names.length > 0;
    } catch (error) {
      tell(this.problem, error);
      return false;
    }
  }

  /** Ask for languages only where the model has several. */
  describe() {
    const model = this.models.get(this.fields.model.value);
    const languages = { source_lang: model?.source_langs ?? [], target_lang: model?.target_langs ?? [] };
    document.querySelector("#of-translator").hidden = this.models.size < 1;
    for (const [name, codes] of Object.entries(languages)) {
      const select = this.fields[name];
      const before = select.value;
      select.replaceChildren(...codes.map((code) => new Option(nameOf(code), code)));
      choose(select, before);
      select.closest("p").hidden = codes.length < 2;
    }
  }

  get question() {
    const question = { text: this.fields.text.value, model: this.fields.model.value };
    for (const name of ["source_lang", "target_lang"]) {
      if (this.fields[name].length > 1) question[name] = this.fields[name].value;
    }
    for (const name of NUMBERS) question[name] = this.fields[name].value;
    if (!this.fields.align.checked) question.align = "no";
    return question;
  }

  async run() {
    const { question } = this;
    const { text, ...rest } = question;
    const texts = text.split("\n").filter((line) => line.trim());
    if (!texts.length || !this.models.size) return;
    const request = { ...rest, texts, align: !question.align, too_long: "split" };
    for (const name of NUMBERS) request[name] = numeric(question[name]);
    this.results.setAttribute("aria-busy", "true");
    this.said.textContent = "Translating…";
    try {
      const answer = await this.ask(request);
      if (answer === null) return;
      tell(this.problem, null);
      this.show(texts, answer);
      this.state = new URLSearchParams(question).toString();
      this.note(question);
    } catch (error) {
      this.said.textContent = "";
      tellAbsent(this.problem, error, ABSENT);
    }
    this.results.setAttribute("aria-busy", "false");
  }

  show(texts, { translations, model, engine }) {
    this.said.textContent = `${counted(translations.length, "sentence")} by ${model} (${engine})`;
    this.results.replaceChildren(...translations.map((one, number) => result(texts[number], one)));
  }
}

function result(text, { hypotheses: [best, ...others], flags = [], alignment }) {
  const said = make("p.target", { dir: direction(best.text) }, best.text || "(nothing)");
  const copy = action("Copy", async () => {
    await navigator.clipboard.writeText(best.text);
    flash(copy, "Copied");
  }, { hidden: !navigator.clipboard });
  const cut = best.truncated ? make("p.hint", {}, "Cut off: the model reached the length it may write.") : null;
  return make("li", {},
    make("p.source", { dir: direction(text) }, text),
    make("div.best", {}, said, copy),
    cut,
    flags.length ? make("p.hint", {}, `Look twice: ${flags.join(", ")}.`) : null,
    others.length ? alternatives(best, others) : null,
    alignment ? drawn(alignment) : null,
  );
}

function alternatives(best, others) {
  const rows = [best, ...others].map(({ text, score }) => (
    make("li", {}, make("span.near", {}, score.toFixed(3)), make("span", { dir: "auto" }, text))
  ));
  return make("details", { open: true }, make("summary", {}, `${rows.length} hypotheses, best first`), make("ol.hypotheses", {}, ...rows));
}

function drawn(alignment) {
  const area = make("div");
  const reading = make("output", { "aria-live": "polite" });
  const details = make("details", { open: true }, make("summary", {}, "Which word became which"), area, make("p.hint", {}, reading));
  const drawing = new Drawing(area, reading);
  requestAnimationFrame(() => drawing.show(alignment)); // once it has a width
  return details;
}
