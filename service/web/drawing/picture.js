// The drawing of an alignment as one SVG file, with the colours of paper, whatever the page has now.

import { shape } from "./links.js";

const MARGIN = 8; // pixels
const COLOURS = { ink: "#1c1e22", line: "#dbd8cf", source: "#ffffff", target: "#f0eee8", link: "#0f6b66" };

/**
 * @param {import("./links.js").Drawing} drawing
 * @returns {string} the text of the file
 */
export function picture(drawing) {
  const { left, top, width, height } = drawing.area.getBoundingClientRect();
  const whole = part("svg", {
    width: width + 2 * MARGIN,
    height: height + 2 * MARGIN,
    viewBox: [-MARGIN, -MARGIN, width + 2 * MARGIN, height + 2 * MARGIN].join(" "),
    "font-family": "system-ui, 'Noto Sans', sans-serif",
    "font-size": 17,
  });
  const title = part("title", {});
  title.textContent = drawing.words.map((side) => side.map(({ textContent }) => textContent).join(" ")).join(" – ");
  whole.append(title, ...drawing.links.map(curve));
  drawing.words.forEach((side, number) => {
    const fill = number ? COLOURS.target : COLOURS.source;
    for (const word of side) whole.append(...box(word, fill, left, top));
  });
  return new XMLSerializer().serializeToString(whole);
}

function curve({ path, source, target, score }) {
  const drawn = part("path", {
    d: path.getAttribute("d"),
    fill: "none",
    stroke: COLOURS.link,
    "stroke-linecap": "round",
    "stroke-width": (1.25 + 2 * score).toFixed(2),
    opacity: (0.3 + 0.7 * score).toFixed(2),
  });
  const title = part("title", {});
  title.textContent = `${source}-${target} ${score.toFixed(4)}`;
  drawn.append(title);
  return drawn;
}

function box(word, fill, left, top) {
  const place = word.getBoundingClientRect();
  const [x, y] = [place.left - left, place.top - top];
  const frame = part("rect", { x, y, width: place.width, height: place.height, rx: 8, fill, stroke: COLOURS.line });
  const text = part("text", {
    x: x + place.width / 2,
    y: y + place.height / 2,
    fill: COLOURS.ink,
    "text-anchor": "middle",
    "dominant-baseline": "central",
  });
  text.textContent = word.textContent;
  return [frame, text];
}

function part(name, attributes) {
  const made = shape(name, "");
  made.removeAttribute("class");
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, typeof value === "number" ? Number(value.toFixed(2)) : value);
  }
  return made;
}
