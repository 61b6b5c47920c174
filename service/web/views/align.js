// Two sentences, a method and a layer: the links between their words.

import { ask, latest, tell } from "../api.js";
import { models } from "../catalogue.js";
import { chips, choose, numeric, onAsk, save, take } from "../dom.js";
import { HeatMap } from "../drawing/heat.js";
import { Drawing } from "../drawing/links.js";
import { picture } from "../drawing/picture.js";
import { apart, counted } from "../text.js";
import { MethodChoice } from "./methods.js";

// Product of two lengths up to which everything is asked for, and at once: never more cells, words by
// words, than BITEXT_MAX_CELLS has by default.
const SHORT = 250_000;

const PAIRS = Object.entries({
  German: [
    "The old house at the end of the street has a small garden.",
    "Das alte Haus am Ende der Straße hat einen kleinen Garten.",
  ],
  French: [
    "I would like to buy two tickets for tomorrow morning, please.",
    "Je voudrais acheter deux billets pour demain matin, s'il vous plaît.",
  ],
  Spanish: [
    "My sister has been learning to play the piano for three years.",
    "Mi hermana lleva tres años aprendiendo a tocar el piano.",
  ],
  Chinese: ["We went to the museum by train yesterday.", "我们昨天坐火车去了博物馆。"],
  Hindi: ["This book is very interesting.", "यह किताब बहुत रोचक है।"],
  Arabic: ["The children are playing in the garden.", "الأطفال يلعبون في الحديقة."],
});

export class AlignView {
  /** @param {(state: Object) => void} note told the state of what is shown */
  constructor(note) {
    this.note = note;
    this.form = document.querySelector("#align");
    this.fields = this.form.elements;
    this.figure = document.querySelector("#figure");
    this.problem = document.querySelector("#align-problem");
    this.summary = document.querySelector("#summary");
    this.drawing = new Drawing(document.querySelector("#drawing"), document.querySelector("#reading"));
    this.heat = new HeatMap(document.querySelector("#heat"), document.querySelector("#cell"));
    this.heat.onpoint = (source, target) => this.drawing.point(source, target);
    this.drawing.onlight = (links) => this.heat.light(links);
    this.methods = new MethodChoice(() => this.switched());
    this.ask = latest((request) => ask("align", request));
    this.answer = null; // the newest, with what it answers
    this.listen();
  }

  /** Show the pair that the address holds, if it holds one. */
  async open(state) {
    if (this.answer && state.toString() === this.state) return;
    if (!(await this.learn())) return;
    if (!state.has("source")) return;
    this.fields.source.value = state.get("source");
    this.fields.target.value = state.get("target") ?? "";
    take(this.fields.layer, state.get("layer"));
    take(this.fields.model, state.get("model"));
    this.methods.choose(state.get("method") ?? this.methods.own);
    await this.run();
  }

  /** Learn which methods, models and layers there are. */
  async learn() {
    if (this.methods.names.length) return true;
    try {
      const [methods, { encoders, own }] = await Promise.all([ask("v1/methods"), models()]);
      if (this.methods.names.length) return true; // asked for twice
      this.methods.offer(methods);
      this.offerLayers(own);
      this.fields.model.replaceChildren(...encoders.map(({ name }) => new Option(name, name)));
      choose(this.fields.model, own.name);
      document.querySelector("#of-model").hidden = encoders.length < 2;
      tell(this.problem, null);
      return true;
    } catch (error) {
      tell(this.problem, error);
      return false;
    }
  }

  /** The layers of a model, as far as they are known: of one that is not loaded they are not. */
  offerLayers(model) {
    const numbers = Array.from({ length: (model?.layers ?? -1) + 1 }, (_, number) => number);
    this.fields.layer.replaceChildren(
      new Option("own", ""),
      ...numbers.map((number) => new Option(number, number)),
    );
  }

  listen() {
    onAsk(this.form, () => this.run());
    this.form.addEventListener("input", () => this.age());
    this.fields.layer.addEventListener("change", () => this.run());
    this.fields.model.addEventListener("change", async () => {
      const { encoders } = await models();
      this.offerLayers(encoders.find(({ name }) => name === this.fields.model.value));
      this.run();
    });
    chips(document.querySelector("#pairs"), PAIRS, ([source, target]) => {
      this.fields.source.value = source;
      this.fields.target.value = target;
      this.run();
    });
    document.querySelector("#swap").addEventListener("click", () => {
      const { source, target } = this.fields;
      [source.value, target.value] = [target.value, source.value];
      if (this.answer) this.run();
    });
    document.querySelector("#save-svg").addEventListener("click", () => {
      save("alignment.svg", "image/svg+xml", picture(this.drawing));
    });
    document.querySelector("#save-pharaoh").addEventListener("click", () => {
      save("alignment.pharaoh", "text/plain", `${document.querySelector("#pharaoh").textContent}\n`);
    });
  }

  /** What the form holds, of that which the sentences must be encoded for. */
  get question() {
    const { source, target, layer, model } = this.fields;
    const question = { source: source.value, target: target.value };
    if (layer.value) question.layer = numeric(layer.value);
    if (model.selectedIndex > 0) question.model = model.value;
    return question;
  }

  /** Show another method: of what is there already, if it is still what the form holds. */
  switched() {
    if (!this.answer) return;
    const known = this.answer.alignments[0].by_method?.[this.methods.chosen];
    if (known && this.answer.question === JSON.stringify(this.question)) this.show();
    else this.run();
  }

  /** Dim what answers another question than the form holds. */
  age() {
    const { question } = this.answer ?? {};
    this.figure.classList.toggle("stale", !!question && question !== JSON.stringify(this.question));
  }

  async run() {
    const { question } = this;
    const [source, target] = [question.source, question.target];
    if (!source.trim() || !target.trim() || !(await this.learn())) return;
    const short = source.length * target.length <= SHORT;
    const methods = short ? this.methods.names : [this.methods.chosen];
    this.figure.setAttribute("aria-busy", "true");
    try {
      const answer = await this.ask({ ...question, methods, detail: short });
      if (answer === null) return;
      tell(this.problem, null);
      this.answer = { ...answer, question: JSON.stringify(question) };
      this.show();
    } catch (error) {
      tell(this.problem, error);
    }
    this.figure.setAttribute("aria-busy", "false");
  }

  show() {
    const { alignments: [pair], layer, question } = this.answer;
    const method = this.methods.chosen;
    const shown = { ...pair, ...pair.by_method[method] };
    this.figure.classList.remove("empty");
    this.age();
    this.drawing.show(shown);
    this.heat.show(shown);
    this.summary.textContent = summary(shown, method, layer);
    document.querySelector("#nulls").textContent = nulls(shown);
    document.querySelector("#pharaoh").textContent =
      shown.links.map(({ source, target }) => `${source}-${target}`).join(" ");
    const state = { ...JSON.parse(question), method };
    document.querySelector("#curl").textContent = curl(state);
    this.state = new URLSearchParams(state).toString();
    this.note(state);
  }
}

function summary({ source_words, target_words, links, score }, method, layer) {
  const words = `${source_words.length} and ${target_words.length} words`;
  const sure = score === undefined ? " · too long for a heat map" : ` · score ${score.toFixed(2)}`;
  return `${counted(links.length, "link")} between ${words}${sure} · ${method} · layer ${layer}`;
}

/** Which words have no link, each side by itself. */
function nulls({ source_words, target_words, null_source, null_target }) {
  if (!null_source || !(null_source.length + null_target.length)) return "";
  const listed = (words, which) => which.map((number) => apart(words[number])).join(" ") || "–";
  return `Without a link: ${listed(source_words, null_source)} | ${listed(target_words, null_target)}`;
}

function curl(request) {
  const body = JSON.stringify(request).replaceAll("'", "'\\''");
  const address = new URL("align", location.href).href;
  return `curl ${address} -H 'Content-Type: application/json' \\\n  -d '${body}'`;
}
