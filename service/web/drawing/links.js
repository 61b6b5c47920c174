// Draws two lines of words and the links between them. Long lines are cut into bands of two lines
// each, so that most links stay short; a narrow page has two columns instead (style.css).
// Pointing at a word or a link, or moving to a word with the arrow keys, lights what belongs together.

import { make } from "../dom.js";
import { apart, direction } from "../text.js";

const SVG = "http://www.w3.org/2000/svg";
const GAP = 7; // pixels between two words
const SIDES = ["sentence", "translation"];

export class Drawing {
  /**
   * @param {HTMLElement} area where to draw
   * @param {HTMLElement} reading where to say what is lit
   */
  constructor(area, reading) {
    this.area = area;
    this.reading = reading;
    this.curves = shape("svg", "links");
    this.bands = make("div.bands");
    this.scores = shape("svg", "scores");
    for (const drawn of [this.curves, this.scores]) drawn.setAttribute("aria-hidden", "true");
    area.classList.add("drawing");
    area.replaceChildren(this.curves, this.bands, this.scores);
    this.words = [[], []];
    this.links = [];
    this.width = 0;
    this.onlight = () => {}; // told the links that somebody points at here
    this.bands.addEventListener("keydown", (event) => this.move(event));
    new ResizeObserver(() => this.resized()).observe(this.area);
  }

  /** Show one aligned pair as the API gives it. */
  show({ source_words: source, target_words: target, links }) {
    this.words = [source, target].map((words, side) => words.map((text) => this.word(text, side)));
    this.links = links.map((link) => this.link(link));
    this.curves.replaceChildren(...this.links.flatMap(({ path, reach }) => [path, reach]));
    for (const side of [0, 1]) {
      const linked = new Set(this.links.map(({ ends }) => ends[side]));
      for (const word of this.words[side]) word.classList.toggle("alone", !linked.has(word));
    }
    for (const word of this.words.flat().slice(0, 1)) word.tabIndex = 0;
    this.light([]);
    this.arrange();
  }

  word(text, side) {
    const button = make("button.word", { type: "button", tabindex: -1 }, text);
    const mine = () => this.tell(this.links.filter(({ ends }) => ends[side] === button), button);
    for (const kind of ["pointerenter", "focus", "click"]) button.addEventListener(kind, mine);
    for (const kind of ["pointerleave", "blur"]) button.addEventListener(kind, () => this.tell([]));
    return button;
  }

  /** Arrow keys: along a side, or over to the other one, to a linked word if there is one. */
  move(event) {
    const side = this.words.findIndex((words) => words.includes(event.target));
    if (side < 0) return;
    const [words, number] = [this.words[side], this.words[side].indexOf(event.target)];
    const next = {
      onward: words[number + 1],
      back: words[number - 1],
      over: this.opposite(side, number),
      Home: words[0],
      End: words[words.length - 1],
    }[this.meaning(event.key, side)];
    if (!next) return;
    event.preventDefault();
    for (const word of this.words.flat()) word.tabIndex = word === next ? 0 : -1;
    next.focus();
  }

  /** What a key means where the sides are lines, or columns beside each other. */
  meaning(key, side) {
    const keys = this.across
      ? { ArrowDown: "onward", ArrowUp: "back", [side ? "ArrowLeft" : "ArrowRight"]: "over" }
      : { ArrowRight: "onward", ArrowLeft: "back", [side ? "ArrowUp" : "ArrowDown"]: "over" };
    const leftward = !this.across && direction(this.words[side].map((word) => word.textContent).join(" ")) === "rtl";
    const turned = { onward: "back", back: "onward" };
    const meant = keys[key] ?? key;
    return leftward ? turned[meant] ?? meant : meant;
  }

  opposite(side, number) {
    const word = this.words[side][number];
    const linked = this.links.find(({ ends }) => ends[side] === word);
    const other = this.words[1 - side];
    return linked ? linked.ends[1 - side] : other[Math.min(number, other.length - 1)];
  }

  link({ source, target, score }) {
    const path = shape("path", "link");
    path.style.opacity = 0.3 + 0.7 * score;
    path.style.strokeWidth = `${1.25 + 2 * score}px`;
    const reach = shape("path", "reach"); // wide and unseen: easy to point at
    const ends = [this.words[0][source], this.words[1][target]];
    const link = { path, reach, source, target, score, ends };
    reach.addEventListener("pointerenter", () => this.tell([link]));
    reach.addEventListener("pointerleave", () => this.tell([]));
    return link;
  }

  /** Light what somebody points at here, and let others know. */
  tell(links, alone) {
    this.light(links, alone ? [alone] : []);
    this.onlight(links);
  }

  /** Light two words, and their link if there is one; without numbers, nothing. */
  point(source, target) {
    const links = this.links.filter((link) => link.source === source && link.target === target);
    this.light(links, source === undefined ? [] : [this.words[0][source], this.words[1][target]]);
    this.reading.textContent = ""; // it is read out there; and a new line here would move the page
  }

  /** Light some links and their words, and `alone`, words that may have no link. */
  light(links, alone = []) {
    const lit = new Set([...links.flatMap(({ ends }) => ends), ...alone]);
    for (const word of this.words.flat()) word.classList.toggle("lit", lit.has(word));
    for (const link of this.links) link.path.classList.toggle("lit", links.includes(link));
    this.area.classList.toggle("busy", links.length > 0);
    this.scores.replaceChildren(...links.map(label));
    this.reading.textContent = links.length
      ? links.map(({ ends, score }) => `${ends.map(said).join(" – ")} ${score.toFixed(2)}`).join(", ")
      : alone.length ? `${alone.map(said).join(" – ")}: no link` : "";
  }

  resized() {
    if (this.area.clientWidth !== this.width) this.arrange();
    else this.place();
  }

  /** Cut both sides into as few bands as their words fit in. */
  arrange() {
    this.width = this.area.clientWidth;
    this.fill([this.words]);
    if (!this.across) {
      const widths = this.words.map((side) => side.map((word) => word.offsetWidth + GAP));
      const most = Math.max(...widths.map((side) => side.length));
      let count = 1;
      while (count < most && widths.some((side) => Math.max(...rows(side, side, count).map(sum)) > this.width)) count++;
      if (count > 1) {
        const sides = this.words.map((side, number) => rows(side, widths[number], count));
        this.fill(sides[0].map((row, band) => [row, sides[1][band]]));
      }
    }
    this.place();
  }

  /** Put words on the page: one element a band, with a list of words for each side. */
  fill(bands) {
    const directions = this.words.map((side) => direction(side.map((word) => word.textContent).join(" ")));
    this.bands.replaceChildren(...bands.map((sides, number) => {
      const part = bands.length > 1 ? `, line ${number + 1}` : "";
      return make("div.band", {}, ...sides.map((words, side) => make(
        "ol.words",
        { dir: directions[side], "aria-label": `Words of the ${SIDES[side]}${part}` },
        ...words.map((word) => make("li", {}, word)),
      )));
    }));
  }

  /** Whether the sides are columns beside each other. */
  get across() {
    return getComputedStyle(this.bands.firstElementChild).flexDirection === "row";
  }

  /** Draw every curve between its words, wherever these are now. */
  place() {
    if (!this.links.length) return;
    const origin = this.area.getBoundingClientRect();
    const curve = this.across ? sideways : downwards;
    for (const { path, reach, ends } of this.links) {
      const drawn = curve(...ends.map((word) => word.getBoundingClientRect()), origin);
      path.setAttribute("d", drawn);
      reach.setAttribute("d", drawn);
    }
  }
}

/** Cut `items` into `count` runs whose widths are about the same. */
function rows(items, widths, count) {
  const total = sum(widths);
  const runs = Array.from({ length: count }, () => []);
  let before = 0;
  items.forEach((item, number) => {
    const middle = before + widths[number] / 2;
    runs[Math.floor((count * middle) / total)].push(item);
    before += widths[number];
  });
  return runs;
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

function downwards(a, b, origin) {
  const below = b.top >= a.bottom; // but for a link back to an earlier band
  const [x1, y1] = [a.left + a.width / 2 - origin.left, (below ? a.bottom : a.top) - origin.top];
  const [x2, y2] = [b.left + b.width / 2 - origin.left, (below ? b.top : b.bottom) - origin.top];
  const bend = (y2 - y1) * 0.45;
  return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`;
}

function sideways(a, b, origin) {
  const [x1, y1] = [a.right - origin.left, a.top + a.height / 2 - origin.top];
  const [x2, y2] = [b.left - origin.left, b.top + b.height / 2 - origin.top];
  const bend = (x2 - x1) * 0.5;
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

function said(word) {
  return apart(word.textContent);
}

function label({ path, score }) {
  const text = shape("text", "score");
  const middle = path.getPointAtLength(path.getTotalLength() / 2);
  text.setAttribute("x", middle.x);
  text.setAttribute("y", middle.y);
  text.textContent = score.toFixed(2);
  return text;
}

/** An SVG element of a class. */
export function shape(name, kind) {
  const made = document.createElementNS(SVG, name);
  made.setAttribute("class", kind);
  return made;
}
