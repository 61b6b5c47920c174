// A grid of every source word by every target word: the darker, the more alike. The links of the
// method are marked. A cell that is pointed at, or reached with the arrow keys, reads out its numbers.

import { make } from "../dom.js";
import { apart, direction } from "../text.js";

const MOST = 12_000; // cells; a grid of more could neither be read nor drawn at once
const WIDE = 30; // words of a side from which cells are smaller

export class HeatMap {
  constructor(place, reading) {
    this.place = place;
    this.table = place.querySelector(".heat");
    this.scale = place.querySelector(".heat-scale");
    this.reading = reading;
    this.onpoint = () => {}; // told the numbers of two words, or nothing
    this.cells = [];
    this.current = [0, 0]; // the cell that the Tab key reaches
    this.table.addEventListener("pointerover", ({ target }) => this.point(this.placeOf(target)));
    this.table.addEventListener("pointerleave", () => this.point(null));
    this.table.addEventListener("focusin", ({ target }) => this.reach(this.placeOf(target)));
    this.table.addEventListener("focusout", () => this.point(null));
    this.table.addEventListener("keydown", (event) => this.move(event));
  }

  /** Show one aligned pair as the API gives it with `detail`; without, or if it is too long, nothing. */
  show(pair) {
    const { source_words: source, target_words: target, similarity } = pair;
    const size = source.length * target.length;
    this.place.hidden = !similarity || size === 0 || size > MOST;
    this.point(null);
    if (this.place.hidden) return;
    if (this.pair?.similarity !== similarity) this.build(pair);
    this.pair = pair;
    this.mark();
  }

  build({ source_words: source, target_words: target, similarity }) {
    const all = similarity.flat();
    const [least, most] = [Math.min(...all), Math.max(...all)];
    this.cells = similarity.map((row) => row.map((value) => cell((value - least) / (most - least || 1))));
    this.heads = [
      source.map((word) => head(word, "row")),
      target.map((word) => head(word, "col")),
    ];
    const rows = this.cells.map((cells, number) => line(this.heads[0][number], ...cells));
    const top = make("thead", {}, line(make("td"), ...this.heads[1]));
    const body = make("tbody", {}, ...rows);
    this.table.dir = direction(target.join(" "));
    this.table.classList.toggle("small", Math.max(source.length, target.length) >= WIDE);
    this.table.replaceChildren(top, body);
    this.scale.replaceChildren(least.toFixed(2), make("i"), most.toFixed(2));
    this.current = [0, 0];
    this.cells[0][0].tabIndex = 0;
  }

  /** Mark the links, and the words that have none. */
  mark() {
    const { links, null_source, null_target } = this.pair;
    for (const cell of this.cells.flat()) cell.classList.remove("linked");
    for (const { source, target } of links) this.cells[source][target].classList.add("linked");
    [null_source, null_target].forEach((alone, side) => {
      this.heads[side].forEach((word, number) => word.classList.toggle("alone", alone.includes(number)));
    });
    this.cells.forEach((row, i) => row.forEach((cell, j) => cell.setAttribute("aria-label", this.say(i, j))));
  }

  say(i, j) {
    const { source_words, target_words, similarity, forward, backward } = this.pair;
    const linked = this.cells[i][j].classList.contains("linked") ? ", linked" : "";
    const numbers = [similarity, forward, backward].map((matrix) => matrix[i][j].toFixed(2));
    return `${apart(source_words[i])} – ${apart(target_words[j])}: similarity ${numbers[0]}, ` +
      `probability forward ${numbers[1]}, backward ${numbers[2]}${linked}`;
  }

  /** Light the cells of links that are pointed at elsewhere. */
  light(links) {
    for (const lit of this.table.querySelectorAll("td.lit")) lit.classList.remove("lit");
    if (this.place.hidden) return;
    for (const { source, target } of links) this.cells[source][target].classList.add("lit");
  }

  /** Read out a cell and light its words, here and in the drawing; none: stop. */
  point(place) {
    if (!place && !this.pointed) return;
    for (const lit of this.table.querySelectorAll(".lit")) lit.classList.remove("lit");
    this.pointed = place;
    this.reading.textContent = place ? this.say(...place) : "";
    if (!place) return this.onpoint();
    const [i, j] = place;
    for (const part of [this.cells[i][j], this.heads[0][i], this.heads[1][j]]) part.classList.add("lit");
    return this.onpoint(i, j);
  }

  /** Where an element of the grid is, if it is a cell. */
  placeOf(element) {
    const cell = element.closest("tbody td");
    return cell && [cell.parentElement.rowIndex - 1, cell.cellIndex - 1];
  }

  /** Let the Tab key come back to the cell that has the focus. */
  reach(place) {
    if (!place) return;
    this.cells[this.current[0]][this.current[1]].tabIndex = -1;
    this.current = place;
    this.cells[place[0]][place[1]].tabIndex = 0;
    this.point(place);
  }

  move(event) {
    const [i, j] = this.current;
    const [down, along] = [this.cells.length - 1, this.cells[0].length - 1];
    const onward = this.table.dir === "rtl" ? -1 : 1;
    const steps = {
      ArrowUp: [i - 1, j],
      ArrowDown: [i + 1, j],
      ArrowLeft: [i, j - onward],
      ArrowRight: [i, j + onward],
      Home: [event.ctrlKey ? 0 : i, 0],
      End: [event.ctrlKey ? down : i, along],
    };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    this.cells[between(step[0], down)][between(step[1], along)].focus();
  }
}

function between(number, most) {
  return Math.max(0, Math.min(most, number));
}

function cell(heat) {
  const made = make("td", { tabindex: -1, role: "gridcell" });
  made.style.setProperty("--heat", `${(100 * heat).toFixed(0)}%`);
  return made;
}

function head(word, scope) {
  return make("th", { scope }, make("span", { title: word, dir: "auto" }, word));
}

function line(...parts) {
  return make("tr", {}, ...parts);
}
