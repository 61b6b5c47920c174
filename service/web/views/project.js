// Spans marked in a sentence, carried over to its translation.

import { ask, latest, tellAbsent } from "../api.js";
import { action, chips, make, onAsk } from "../dom.js";
import { COLOURS, lightSpan, showSpans } from "../drawing/spans.js";
import { apart, counted } from "../text.js";
import { Marks } from "./marks.js";

const EXAMPLES = Object.entries({
  German: [
    "Angela Merkel visited the European Parliament in Strasbourg.",
    "Das Europäische Parlament in Straßburg wurde von Angela Merkel besucht.",
    ["0-13-PER", "26-45-ORG", "49-59-LOC"],
  ],
  Arabic: [
    "The children play in the garden of Cairo.",
    "يلعب الأطفال في حديقة القاهرة.",
    ["4-12-WHO", "25-40-WHERE"],
  ],
  Chinese: [
    "Marie Curie worked in Paris.",
    "玛丽·居里在巴黎工作。",
    ["0-11-PER", "22-27-LOC"],
  ],
});

/** Why a span is lost, in words; docs/tasks-project.md has them all. */
const REASONS = {
  "no-links": "none of its words is linked.",
  leaks: "too many links lead to its words from elsewhere.",
  overlap: "another span took its words.",
};

export class ProjectView {
  /** @param {(state: URLSearchParams) => void} note told the state of what is shown */
  constructor(note) {
    this.note = note;
    this.form = document.querySelector("#project");
    this.fields = this.form.elements;
    this.problem = document.querySelector("#project-problem");
    this.result = document.querySelector("#projected");
    this.said = document.querySelector("#project-said");
    this.texts = [document.querySelector("#project-from"), document.querySelector("#project-to")];
    this.list = document.querySelector("#carried");
    this.marks = new Marks(this.fields.source);
    this.marks.onchange = () => this.showMarks();
    this.ask = latest((request) => ask("v1/project", request));
    this.listen();
    this.marks.put(EXAMPLES[0][1][2].map(parse));
  }

  open(state) {
    if (!state.has("source") || state.toString() === this.state) return;
    this.fill(state.get("source"), state.get("target") ?? "", state.getAll("span"));
    this.run();
  }

  listen() {
    onAsk(this.form, () => this.run());
    this.form.addEventListener("input", () => this.age());
    document.querySelector("#mark").addEventListener("click", () => this.mark());
    this.fields.label.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.ctrlKey || event.metaKey) return;
      event.preventDefault(); // it would submit the form
      this.mark();
    });
    chips(document.querySelector("#project-pairs"), EXAMPLES, (example) => {
      this.fill(...example);
      this.run();
    });
    for (const place of [...this.texts, this.list]) {
      place.addEventListener("pointerover", ({ target }) => this.light(target.closest("[data-numbers]")));
      place.addEventListener("pointerleave", () => this.light(null));
      place.addEventListener("focusin", ({ target }) => this.light(target.closest("[data-numbers]")));
      place.addEventListener("focusout", () => this.light(null));
    }
  }

  fill(source, target, spans) {
    this.fields.source.value = source;
    this.fields.target.value = target;
    this.marks.put(spans.flatMap((text) => parse(text) ?? []));
  }

  mark() {
    const label = this.fields.label.value.trim() || "SPAN";
    const marked = this.marks.addSelected(label);
    const { all } = this.marks;
    this.said.textContent = marked
      ? `Marked; ${counted(all.length, "span")} in all.`
      : "Select a part of the sentence first, with the mouse or with Shift and the arrow keys.";
  }

  /** What is marked, each with a button that unmarks it. */
  showMarks() {
    this.age();
    document.querySelector("#marks").replaceChildren(...this.marks.all.map((mark) => {
      const text = this.marks.textOf(mark);
      const remove = action("×", () => {
        this.marks.remove(mark);
        this.fields.source.focus();
      }, { "aria-label": `Unmark ${mark.label}: ${text}` });
      const tag = make("span.tag", { "data-colour": this.colour(mark.label) }, mark.label);
      return make("li", {}, tag, make("bdi", {}, text), remove);
    }));
  }

  /** One colour a label, in the order in which labels appear. */
  colour(label) {
    const labels = [...new Set(this.marks.all.map((mark) => mark.label))];
    return labels.indexOf(label) % COLOURS;
  }

  async run() {
    const [source, target] = [this.fields.source.value, this.fields.target.value];
    if (!source.trim() || !target.trim()) return;
    const spans = this.marks.all;
    if (!spans.length) {
      this.result.hidden = true;
      return this.mark(); // which says what to do
    }
    this.result.setAttribute("aria-busy", "true");
    try {
      const answer = await this.ask({ source, target, spans });
      if (answer === null) return;
      tellAbsent(this.problem, null);
      this.show(source, target, spans, answer);
    } catch (error) {
      this.result.hidden = true;
      tellAbsent(this.problem, error, "This service does not carry spans over: it has no /v1/project.");
    }
    this.result.setAttribute("aria-busy", "false");
  }

  /** Dim what answers another question than the form holds. */
  age() {
    const { source, target } = this.fields;
    const held = address(source.value, target.value, this.marks.all).toString();
    this.result.classList.toggle("stale", held !== this.state);
  }

  show(source, target, spans, answer) {
    const shown = spans.map((span, number) => ({ ...span, number, colour: this.colour(span.label) }));
    const { carried, lost } = outcome(answer, shown);
    showSpans(this.texts[0], source, shown);
    showSpans(this.texts[1], target, carried);
    this.list.replaceChildren(
      ...carried.map((span) => row(span, span.text, span.score.toFixed(2))),
      ...lost.map((span) => row(span, `lost: ${REASONS[span.reason] ?? span.reason}`, "", "lost")),
    );
    this.said.textContent = `${counted(carried.length, "span")} carried over, ${lost.length} lost.`;
    this.result.hidden = false;
    this.state = address(source, target, spans).toString();
    this.age();
    this.note(address(source, target, spans));
  }

  light(element) {
    const number = element?.dataset.numbers.split(" ").pop() ?? null;
    lightSpan(this.texts, number);
    for (const line of this.list.children) line.classList.toggle("lit", line.dataset.numbers === number);
  }
}

/** What became of each span: placed in the target, or lost with a reason. */
function outcome({ projections: [{ spans }] }, shown) {
  const all = spans.map(({ target, score, reason }, number) => ({ ...shown[number], ...target, target, score, reason }));
  return { carried: all.filter(({ target }) => target), lost: all.filter(({ target }) => !target) };
}

function row({ label, colour, number }, text, score, kind = "") {
  const name = kind ? `li.${kind}` : "li";
  return make(name, { "data-numbers": number, tabindex: 0 },
    make("span.tag", { "data-colour": colour }, label),
    make("bdi", {}, text),
    make("span.score", {}, score),
  );
}

function address(source, target, spans) {
  const state = new URLSearchParams({ source, target });
  for (const { start, end, label } of spans) state.append("span", `${start}-${end}-${label}`);
  return state;
}

/** A span as an address holds it: `0-13-PER`. */
function parse(text) {
  const [, start, end, label] = text.match(/^(\d+)-(\d+)-(.+)$/s) ?? [];
  return label && Number(start) < Number(end) ? { start: Number(start), end: Number(end), label } : null;
}
