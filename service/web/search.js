// The lower half of the page: a sentence in, the nearest sentences of an index out.

import { ask, latest, tell } from "./api.js";

const K = 10;
const SAMPLE = "sample";
const QUERIES = [
  "My friends asked me to come to dinner.",
  "Bitte füttern Sie den Hund.",
  "Les enfants doivent dormir beaucoup.",
  "Chci pronajmout byt ve městě.",
  "水を一杯ください。",
  "Самые большие птицы",
];

const names = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });

export class SearchPanel {
  constructor() {
    this.form = document.querySelector("#search");
    this.problem = document.querySelector("#search-problem");
    this.found = document.querySelector("#found");
    this.results = document.querySelector("#results");
    this.indexes = new Map();
    this.ask = latest((request) => ask("retrieve", request));
    this.listen();
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    this.form.elements.index.addEventListener("change", () => this.describe());
    const place = document.querySelector("#queries");
    for (const query of QUERIES) {
      const button = document.createElement("button");
      button.type = "button";
      button.dir = "auto";
      button.textContent = query;
      button.addEventListener("click", () => {
        this.form.elements.query.value = query;
        this.run();
      });
      place.append(button);
    }
  }

  /** Learn which indexes there are; those without sentences cannot be searched. */
  async refresh() {
    try {
      const { indexes } = await ask("v1/indexes");
      const filled = indexes.filter(({ count }) => count > 0);
      this.indexes = new Map(filled.map((index) => [index.name, index]));
      const options = filled.map(({ name }) => new Option(name, name, name === SAMPLE, name === SAMPLE));
      this.form.elements.index.replaceChildren(...options);
      this.describe();
    } catch (error) {
      tell(this.problem, error);
    }
  }

  /** Say what the chosen index holds; ask for the query's language only where that matters. */
  describe() {
    const index = this.indexes.get(this.form.elements.index.value);
    const several = this.indexes.size > 1;
    document.querySelector("#choices").hidden = !(several || index?.centring);
    document.querySelector("#of-language").hidden = !index?.centring;
    if (!index) {
      document.querySelector("#corpus").textContent = "There is no index with sentences yet.";
      return;
    }
    const languages = Object.keys(index.languages).sort();
    this.form.elements.language.replaceChildren(...languages.map((code) => new Option(nameOf(code), code)));
    const where = index.name === SAMPLE ? "the sample corpus" : `index “${index.name}”`;
    document.querySelector("#corpus").textContent =
      `${where[0].toUpperCase()}${where.slice(1)} has ${index.count} sentences in ${languages.map(nameOf).join(", ")}.`;
  }

  async run() {
    const query = this.form.elements.query.value;
    const index = this.form.elements.index.value;
    if (!query.trim() || !index) return;
    const request = { index, queries: [query], k: K };
    if (this.indexes.get(index)?.centring) request.language = this.form.elements.language.value;
    try {
      const answer = await this.ask(request);
      if (answer === null) return;
      tell(this.problem, null);
      this.show(answer.results[0]);
    } catch (error) {
      this.show([]);
      tell(this.problem, error);
    }
  }

  show(hits) {
    this.found.textContent = hits.length ? `The ${hits.length} nearest, by cosine` : "";
    this.results.replaceChildren(...hits.map(row));
  }
}

function row({ text, language, score }) {
  const item = document.createElement("li");
  const tongue = element("span", "tongue", nameOf(language));
  const said = element("span", "said", text);
  said.lang = language;
  said.dir = "auto";
  const bar = element("span", "bar");
  bar.append(element("span"));
  bar.firstChild.style.width = `${Math.max(0, score) * 100}%`;
  const near = element("span", "near");
  near.append(bar, element("span", "", score.toFixed(3)));
  item.append(tongue, said, near);
  return item;
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function nameOf(language) {
  try {
    return names.of(language);
  } catch {
    return language; // a tag that no standard knows
  }
}
