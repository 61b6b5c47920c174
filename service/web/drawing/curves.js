// Measurements of a run as small curves: one picture for what is lost, one for how good it is, one for
// each thing else. They grow while the run goes on.

import { make } from "../dom.js";
import { shape } from "./links.js";

const [WIDTH, HEIGHT] = [440, 190]; // of a picture, in its own units
const EDGE = { left: 46, right: 12, top: 10, bottom: 24 };
const TICKS = 4; // about as many lines across
const AT = "at"; // steps of all stages so far
const UNSEEN = /^(step|before|at|pieces|dev|.*: dev)$/; // dev: one of the others, again
const TOGETHER = [
  ["Loss", /loss|nll|perplexity/i],
  ["Quality", /bleu|chrf|ter$|accuracy|recall|aer/i],
];

export class Curves {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    this.clear();
  }

  clear() {
    this.points = [];
    this.place.replaceChildren();
  }

  /** Take one more measurement: `{stage, step, …}`, where every stage counts its steps from 0. */
  add(point) {
    // A run that goes on from a checkpoint measures the steps after it again.
    while (this.last?.stage === point.stage && this.last.step > point.step) this.points.pop();
    const { last } = this;
    if (last?.stage === point.stage && last.step === point.step) Object.assign(last, point);
    else {
      const before = last?.stage === point.stage ? last.before : last?.[AT] ?? 0;
      this.points.push({ ...point, before, [AT]: before + point.step });
    }
    this.drawing ??= requestAnimationFrame(() => this.draw());
  }

  get last() {
    return this.points[this.points.length - 1];
  }

  draw() {
    this.drawing = null;
    if (!this.points.length) return;
    const groups = grouped(names(this.points));
    const panels = groups.map(([title, keys]) => panel(title, keys, this.points));
    this.place.replaceChildren(...panels);
  }
}

/** Everything that was measured as a number. */
function names(points) {
  const all = points.flatMap((point) => Object.keys(point).filter((key) => Number.isFinite(point[key])));
  return [...new Set(all)].filter((key) => !UNSEEN.test(key));
}

/** Names that share a picture, under its title. */
function grouped(keys) {
  const groups = TOGETHER.map(([title, pattern]) => [title, keys.filter((key) => pattern.test(key))]);
  const taken = groups.flatMap(([, members]) => members);
  const others = keys.filter((key) => !taken.includes(key)).map((key) => [key, [key]]);
  return [...groups.filter(([, members]) => members.length), ...others];
}

function panel(title, keys, points) {
  const series = keys.map((key) => ({
    key,
    points: points.filter((point) => Number.isFinite(point[key])).map((point) => [point[AT], point[key]]),
  }));
  const picture = drawn(series);
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `${title}. ${series.map(spoken).join(" ")}`);
  const legend = make("ul.legend", {}, ...series.map(({ key, points: own }, number) => make("li", { "data-series": number },
    make("i", { "aria-hidden": "true" }), key, make("span", {}, figure(own[own.length - 1][1])))));
  return make("figure.curve", {}, make("figcaption", {}, make("strong", {}, title), legend), picture);
}

/** A series in words. */
function spoken({ key, points }) {
  const [[from, first], [to, last]] = [points[0], points[points.length - 1]];
  return `${key}: from ${figure(first)} at step ${from} to ${figure(last)} at step ${to}.`;
}

function drawn(series) {
  const all = series.flatMap(({ points }) => points);
  const across = scale(all.map(([step]) => step), EDGE.left, WIDTH - EDGE.right);
  const values = ticks(all.map(([, value]) => value));
  const up = scale(values, HEIGHT - EDGE.bottom, EDGE.top);
  const picture = shape("svg", "chart");
  picture.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  for (const value of values) picture.append(grid(up(value)), label(EDGE.left - 6, up(value), figure(value), "end"));
  for (const [step, anchor] of ends(all)) picture.append(label(across(step), HEIGHT - 8, step.toLocaleString("en"), anchor));
  series.forEach(({ points }, number) => picture.append(...curve(points, number, across, up)));
  return picture;
}

function curve(points, number, across, up) {
  const places = points.map(([step, value]) => `${across(step).toFixed(1)} ${up(value).toFixed(1)}`);
  const line = shape("path", "series");
  line.setAttribute("d", `M${places.join("L")}`);
  const dot = shape("circle", "series-end");
  const [step, value] = points[points.length - 1];
  for (const [name, at] of [["cx", across(step)], ["cy", up(value)], ["r", 3]]) dot.setAttribute(name, at);
  for (const part of [line, dot]) part.dataset.series = number;
  return [line, dot];
}

function ends(all) {
  const steps = all.map(([step]) => step);
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  return first === last ? [[first, "start"]] : [[first, "start"], [last, "end"]];
}

/** From values to places between two ends. */
function scale(values, start, end) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return (value) => start + ((value - least) / (most - least || 1)) * (end - start);
}

/** Round numbers that enclose all values. */
function ticks(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const rough = (most - least || Math.abs(most) || 1) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.floor(least / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(most / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, number) => Number(((first + number) * step).toPrecision(12)));
}

function grid(y) {
  const line = shape("path", "grid");
  line.setAttribute("d", `M${EDGE.left} ${y}H${WIDTH - EDGE.right}`);
  return line;
}

function label(x, y, text, anchor) {
  const made = shape("text", "tick");
  made.setAttribute("x", x);
  made.setAttribute("y", y);
  made.setAttribute("text-anchor", anchor);
  made.textContent = text;
  return made;
}

/** Four digits at most: `0.0003`, `3.142`, `27.5`, `12,400`. */
function figure(value) {
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
  return value.toLocaleString("en", { maximumSignificantDigits: Math.max(4, String(Math.trunc(Math.abs(value))).length) });
}
