// A text with labelled spans, which may lie in one another: every run of characters between two ends
// of spans is one element, in the colour of its shortest span. The label stands where the span begins.

import { make } from "../dom.js";
import { direction, toUnits } from "../text.js";

export const COLOURS = 6; // how many style.css has

/**
 * @typedef {object} Shown
 * @property {number} start in code points
 * @property {number} end
 * @property {string} label
 * @property {number} number which spans of the two texts belong together
 * @property {number} colour
 */

/**
 * Show a text and its spans.
 * @param {HTMLElement} place
 * @param {string} text
 * @param {Shown[]} spans
 */
export function showSpans(place, text, spans) {
  const inUnits = spans.map((span) => ({ ...span, start: toUnits(text, span.start), end: toUnits(text, span.end) }));
  const ends = [0, text.length, ...inUnits.flatMap(({ start, end }) => [start, end])];
  const cuts = [...new Set(ends)].sort((a, b) => a - b);
  const runs = cuts.slice(0, -1).map((start, number) => run(text, start, cuts[number + 1], inUnits));
  place.dir = direction(text);
  place.replaceChildren(...runs);
}

function run(text, start, end, spans) {
  const here = spans.filter((span) => span.start <= start && span.end >= end);
  if (!here.length) return text.slice(start, end);
  here.sort((a, b) => (b.end - b.start) - (a.end - a.start)); // the shortest one last
  const shortest = here[here.length - 1];
  const labels = here.filter((span) => span.start === start).map(({ label, colour }) => (
    make("span.tag", { "data-colour": colour }, label)
  ));
  return make("mark.span", {
    "data-colour": shortest.colour,
    "data-numbers": here.map(({ number }) => number).join(" "),
  }, ...labels, text.slice(start, end));
}

/** Light the runs of one span in all of `places`; none: of no span. */
export function lightSpan(places, number) {
  for (const marked of places.flatMap((place) => [...place.querySelectorAll(".span")])) {
    marked.classList.toggle("lit", marked.dataset.numbers.split(" ").includes(String(number)));
  }
}
