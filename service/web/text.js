// Text as people and the API see it: directions, names of languages, code points, sizes, times.

const names = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });
const LEFTWARD = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

/** Which way the first letter runs. */
export function direction(text) {
  return LEFTWARD.test(text.match(/\p{L}/u)?.[0] ?? "") ? "rtl" : "ltr";
}

/** A text that keeps its direction to itself inside another. */
export function apart(text) {
  return `\u2068${text}\u2069`;
}

/** The English name of a language tag. */
export function nameOf(language) {
  try {
    return names.of(language);
  } catch {
    return language; // a tag that no standard knows
  }
}

/** The API counts code points, browsers count UTF-16 units. */
export function toPoints(text, units) {
  return [...text.slice(0, units)].length;
}

/** How many units the first `points` code points of a text have. */
export function toUnits(text, points) {
  return [...text].slice(0, points).join("").length;
}

/** `1 link`, `2 links`. */
export function counted(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

/** `46 MB` */
export function size(bytes) {
  const step = bytes < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** step;
  return `${value.toFixed(step && value < 10 ? 1 : 0)} ${UNITS[step]}`;
}

/** `3 h 20 min`, `5 min`, `40 s`: the two largest units at most. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([length]) => whole >= length);
  if (first < 0) return "0 s";
  const [length, unit] = parts[first];
  const rest = parts[first + 1];
  const left = rest && rest[0] > 1 ? Math.floor((whole % length) / rest[0]) : 0;
  return `${Math.floor(whole / length)} ${unit}${left ? ` ${left} ${rest[1]}` : ""}`;
}

/** A moment of the API (ISO 8601, UTC) on this person's clock. */
export function moment(iso) {
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
