// The upper half of the page: two sentences, a method, and the links between their words.

import { ask, latest, tell } from "./api.js";
import { Drawing } from "./links.js";

const PAUSE = 500; // milliseconds without typing after which the links are asked for

const METHODS = {
  argmax: "Mutual best matches only: few links, but sure ones.",
  itermax: "Mutual best matches, then once more among the words that are left: more links.",
  mwmf: "One to one, with the greatest sum: all of the shorter side is linked.",
  softmax: "What is probable in both directions together: several links for a word, or none.",
  forward: "For each word of the sentence, its best match.",
  backward: "For each word of the translation, its best match.",
};

const PAIRS = {
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
};

export class AlignPanel {
  constructor() {
    this.form = document.querySelector("#align");
    this.figure = document.querySelector("#figure");
    this.problem = document.querySelector("#align-problem");
    this.summary = document.querySelector("#summary");
    this.drawing = new Drawing(this.figure, document.querySelector("#reading"));
    this.ask = latest((request) => ask("align", request));
    this.listen();
    this.explain();
  }

  get method() {
    return this.form.elements.method.value;
  }

  listen() {
    let pause;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    this.form.addEventListener("input", () => {
      clearTimeout(pause);
      pause = setTimeout(() => this.run(), PAUSE);
    });
    this.form.addEventListener("change", () => this.explain());
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.run();
    });
    const place = document.querySelector("#pairs");
    for (const [name, [source, target]] of Object.entries(PAIRS)) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", () => {
        this.form.elements.source.value = source;
        this.form.elements.target.value = target;
        this.run();
      });
      place.append(button);
    }
  }

  explain() {
    document.querySelector("#method-hint").textContent = METHODS[this.method];
  }

  async run() {
    const source = this.form.elements.source.value;
    const target = this.form.elements.target.value;
    if (!source.trim() || !target.trim()) return;
    const request = { source, target, method: this.method };
    this.figure.setAttribute("aria-busy", "true");
    try {
      const answer = await this.ask(request);
      if (answer === null) return;
      tell(this.problem, null);
      this.show(answer, request);
    } catch (error) {
      tell(this.problem, error);
    }
    this.figure.setAttribute("aria-busy", "false");
  }

  show({ alignments: [pair], method, layer }, request) {
    this.drawing.show(pair);
    const counts = `${pair.source_words.length} and ${pair.target_words.length} words`;
    const links = pair.links.length === 1 ? "1 link" : `${pair.links.length} links`;
    this.summary.textContent = `${links} between ${counts} · ${method} · layer ${layer}`;
    document.querySelector("#pharaoh").textContent =
      pair.links.map(({ source, target }) => `${source}-${target}`).join(" ");
    document.querySelector("#curl").textContent = curl(request);
  }
}

function curl(request) {
  const body = JSON.stringify(request).replaceAll("'", "'\\''");
  const address = new URL("align", location.href).href;
  return `curl ${address} -H 'Content-Type: application/json' \\\n  -d '${body}'`;
}
