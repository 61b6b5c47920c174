// The upper half of the page: two sentences, a method, and the links between their words.

import { ask, latest, tell } from "./api.js";
import { HeatMap } from "./heat.js";
import { Drawing } from "./links.js";
import { MethodChoice } from "./methods.js";

const PAUSE = 500; // milliseconds without typing after which the links are asked for
// Product of two lengths up to which everything is asked for, and at once: never more cells, words by
// words, than BITEXT_MAX_CELLS has by default.
const SHORT = 250_000;

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
    this.heat = new HeatMap(document.querySelector("#heat"), document.querySelector("#cell"));
    this.heat.onpoint = (source, target) => this.drawing.point(source, target);
    this.drawing.onlight = (links) => this.heat.light(links);
    this.methods = new MethodChoice(() => this.switched());
    this.ask = latest((request) => ask("align", request));
    this.answer = null; // the newest, with what it answers
    this.listen();
  }

  /** Learn which methods there are, then show the example. */
  async start() {
    try {
      this.methods.offer(await ask("v1/methods"));
    } catch (error) {
      return tell(this.problem, error);
    }
    return this.run();
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    for (const name of ["source", "target"]) {
      this.form.elements[name].addEventListener("input", () => {
        clearTimeout(this.pause);
        this.pause = setTimeout(() => this.run(), PAUSE);
      });
    }
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

  get pair() {
    const { source, target } = this.form.elements;
    return { source: source.value, target: target.value };
  }

  /** Show another method: of what is there already, if it is still what the form holds. */
  switched() {
    const { source, target } = this.pair;
    const { request, alignments } = this.answer ?? {};
    const known = alignments?.[0].by_method?.[this.methods.chosen];
    if (known && request.source === source && request.target === target) this.show();
    else this.run();
  }

  async run() {
    clearTimeout(this.pause);
    const { source, target } = this.pair;
    if (!source.trim() || !target.trim() || !this.methods.chosen) return;
    const short = source.length * target.length <= SHORT;
    const request = { source, target, methods: short ? this.methods.names : [this.methods.chosen], detail: short };
    this.figure.setAttribute("aria-busy", "true");
    try {
      const answer = await this.ask(request);
      if (answer === null) return;
      tell(this.problem, null);
      this.answer = { ...answer, request };
      this.switched(); // shows it, or asks again if another method was chosen meanwhile
    } catch (error) {
      tell(this.problem, error);
    }
    this.figure.setAttribute("aria-busy", "false");
  }

  show() {
    const { alignments: [pair], layer, request } = this.answer;
    const method = this.methods.chosen;
    const shown = { ...pair, ...pair.by_method[method] };
    this.drawing.show(shown);
    this.heat.show(shown);
    this.summary.textContent = summary(shown, method, layer);
    document.querySelector("#nulls").textContent = nulls(shown);
    document.querySelector("#pharaoh").textContent =
      shown.links.map(({ source, target }) => `${source}-${target}`).join(" ");
    document.querySelector("#curl").textContent =
      curl({ source: request.source, target: request.target, method });
  }
}

function summary({ source_words, target_words, links, score }, method, layer) {
  const count = links.length === 1 ? "1 link" : `${links.length} links`;
  const words = `${source_words.length} and ${target_words.length} words`;
  const sure = score === undefined ? " · too long for a heat map" : ` · score ${score.toFixed(2)}`;
  return `${count} between ${words}${sure} · ${method} · layer ${layer}`;
}

/** Which words have no link, each side by itself. */
function nulls({ source_words, target_words, null_source, null_target }) {
  if (!null_source || !(null_source.length + null_target.length)) return "";
  const listed = (words, which) => which.map((number) => `\u2068${words[number]}\u2069`).join(" ") || "–";
  return `Without a link: ${listed(source_words, null_source)} | ${listed(target_words, null_target)}`;
}

function curl(request) {
  const body = JSON.stringify(request).replaceAll("'", "'\\''");
  const address = new URL("align", location.href).href;
  return `curl ${address} -H 'Content-Type: application/json' \\\n  -d '${body}'`;
}
