// A sentence in, the nearest sentences of an index out.

import { ask, latest, tell } from "../api.js";
import { chips, make, numeric, onAsk, take } from "../dom.js";
import { counted, nameOf } from "../text.js";

const SAMPLE = "sample";
const QUERIES = [
  "My friends asked me to come to dinner.",
  "Bitte füttern Sie den Hund.",
  "Les enfants doivent dormir beaucoup.",
  "Chci pronajmout byt ve městě.",
  "水を一杯ください。",
  "Самые большие птицы",
].map((query) => [query, query]);

export class SearchView {
  /** @param {(state: Object) => void} note told the state of what is shown */
  constructor(note) {
    this.note = note;
    this.form = document.querySelector("#search");
    this.fields = this.form.elements;
    this.problem = document.querySelector("#search-problem");
    this.found = document.querySelector("#found");
    this.results = document.querySelector("#results");
    this.indexes = new Map();
    this.ask = latest((request) => ask("retrieve", request));
    this.listen();
  }

  async open(state) {
    const shown = state.toString() === this.state;
    await this.refresh();
    if (!state.has("query") || shown) return;
    this.fields.query.value = state.get("query");
    take(this.fields.index, state.get("index"));
    this.describe();
    take(this.fields.language, state.get("language"));
    take(this.fields.among, state.get("among"));
    take(this.fields.k, state.get("k"));
    await this.run();
  }

  listen() {
    onAsk(this.form, () => this.run());
    this.fields.index.addEventListener("change", () => this.describe());
    chips(document.querySelector("#queries"), QUERIES, (query) => {
      this.fields.query.value = query;
      this.run();
    });
  }

  /** Learn which indexes there are; those without sentences cannot be searched. */
  async refresh() {
    try {
      const { indexes } = await ask("v1/indexes");
      const filled = indexes.filter(({ count }) => count > 0);
      filled.sort((a, b) => (b.name === SAMPLE) - (a.name === SAMPLE));
      const names = filled.map(({ name }) => name);
      const known = names.join() === [...this.indexes.keys()].join();
      this.indexes = new Map(filled.map((index) => [index.name, index]));
      if (!known) this.fields.index.replaceChildren(...names.map((name) => new Option(name, name)));
      if (!known || !names.length) this.describe();
    } catch (error) {
      tell(this.problem, error);
    }
  }

  /** Say what the chosen index holds; ask for the query's language only where that matters. */
  describe() {
    const index = this.indexes.get(this.fields.index.value);
    document.querySelector("#of-index").hidden = this.indexes.size < 2 && !!index;
    document.querySelector("#of-language").hidden = !index?.centring;
    document.querySelector("label[for=query]").textContent = index?.centring ? "Sentence" : "Sentence in any language";
    document.querySelector("#choices").hidden = !this.indexes.size;
    const none = this.indexes.size ? "" : "There is no index with sentences yet.";
    document.querySelector("#corpus").textContent = index ? holdings(index) : none;
    if (!index) return;
    const languages = Object.keys(index.languages).sort();
    const options = () => languages.map((code) => new Option(nameOf(code), code));
    this.fields.language.replaceChildren(...options());
    this.fields.among.replaceChildren(new Option("any language", ""), ...options());
  }

  /** What the form asks for. */
  get question() {
    const { query, index, language, among, k } = this.fields;
    const question = { query: query.value, index: index.value, k: k.value };
    if (this.indexes.get(index.value)?.centring) question.language = language.value;
    if (among.value) question.among = among.value;
    return question;
  }

  async run() {
    const { question } = this;
    if (!question.query.trim() || !question.index) return;
    const { query, among, ...rest } = question;
    const request = { ...rest, queries: [query], k: numeric(question.k) };
    if (among) request.filter = { language: [among] };
    try {
      const answer = await this.ask(request);
      if (answer === null) return;
      tell(this.problem, null);
      this.show(answer.results[0]);
      this.state = new URLSearchParams(question).toString();
      this.note(question);
    } catch (error) {
      this.show([]);
      this.found.textContent = "";
      tell(this.problem, error);
    }
  }

  show(hits) {
    this.found.textContent = hits.length ? `The ${hits.length} nearest, by cosine` : "Nothing was found.";
    this.results.replaceChildren(...hits.map(row));
  }
}

function holdings({ name, count, languages }) {
  const where = name === SAMPLE ? "The sample corpus" : `Index “${name}”`;
  const tongues = Object.keys(languages).sort().map(nameOf).join(", ");
  return `${where} has ${counted(count, "sentence")} in ${tongues}.`;
}

function row({ text, language, score }) {
  const length = make("span");
  length.style.width = `${Math.max(0, score) * 100}%`;
  return make("li", {},
    make("span.tongue", {}, nameOf(language)),
    make("span.said", { lang: language, dir: "auto" }, text),
    make("span.near", {}, make("span.bar", {}, length), make("span", {}, score.toFixed(3))),
  );
}
