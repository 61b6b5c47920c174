// What a new job is asked for, by its kind. A file is uploaded, or named where the service can see it.

/**
 * @typedef {object} Field
 * @property {string} name of the setting
 * @property {string} label
 * @property {"file"|"text"|"number"|"choice"|"check"} type
 * @property {boolean} [needed]
 * @property {string[]} [choices]
 * @property {string} [value] at the start
 * @property {string} [hint]
 */

/** @type {Object<string, {title: string, hint: string, fields: Field[]}>} */
export const KINDS = {
  mine: {
    title: "Mine translations",
    hint: "Two files in, a sentence a line; the pairs that translate each other out.",
    fields: [
      { name: "source", label: "Sentences", type: "file", needed: true },
      { name: "target", label: "Sentences in the other language", type: "file", needed: true },
      { name: "margin", label: "Margin", type: "choice", choices: ["ratio", "distance", "absolute"] },
      { name: "threshold", label: "Least margin", type: "number", hint: "Empty: all pairs." },
    ],
  },
  index: {
    title: "Build an index",
    hint: "A file of sentences in, an index to search out.",
    fields: [
      { name: "file", label: "Sentences", type: "file", needed: true },
      { name: "language", label: "Their language", type: "text", needed: true, hint: "Such as de." },
    ],
  },
  train: {
    title: "Train a translation model",
    hint: "A run in one TOML file; the files that it names are uploaded with it.",
    fields: [
      { name: "config", label: "Config (TOML)", type: "file", needed: true },
    ],
  },
};
