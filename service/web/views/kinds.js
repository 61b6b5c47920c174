// What a new job is asked for, by its kind, and the settings that come of the answers.

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {"file"|"text"|"number"|"choice"} type
 * @property {boolean} [needed]
 * @property {string[]} [choices] the first is what is chosen at the start
 * @property {string} [value] at the start
 * @property {string} [hint]
 */

/**
 * @typedef {object} Kind
 * @property {string} title
 * @property {string} hint
 * @property {string} more such as the JSON object of more settings may be
 * @property {Field[]} fields
 * @property {(values: Object) => Object} settings of the answers, without those left out; a file is
 *   the name that it has as an upload
 */

const NAME = "Small letters, digits, - and _.";

/** @type {Object<string, Kind>} */
export const KINDS = {
  mine: {
    title: "Mine translations",
    hint: "Two files of a sentence a line in; the pairs that translate each other out.",
    more: '{"top": 1000}',
    fields: [
      { name: "source", label: "Sentences", type: "file", needed: true },
      { name: "target", label: "Sentences in the other language", type: "file", needed: true },
      { name: "margin", label: "Margin", type: "choice", choices: ["ratio", "distance", "absolute"] },
      { name: "precision", label: "Share that should be right", type: "number", hint: "From 0 to 1; chooses the threshold." },
      { name: "threshold", label: "Or the least margin", type: "number", hint: "Neither: all pairs." },
    ],
    settings: (values) => values,
  },
  index: {
    title: "Build an index",
    hint: "A file of sentences in; an index that Search finds them in.",
    more: '{"skip_empty": true}',
    fields: [
      { name: "index", label: "Name of the index", type: "text", needed: true, hint: NAME },
      { name: "file", label: "Sentences", type: "file", needed: true },
      { name: "lines", label: "A line is", type: "choice", choices: ["sentences", "languages", "json"], hint: "A sentence; language, tab, sentence; or a JSON object." },
      { name: "language", label: "Language of all", type: "text", hint: "Such as de." },
      { name: "mode", label: "What to do", type: "choice", choices: ["build", "add", "upsert"], hint: "Build a new one; add to one; replace by id." },
    ],
    settings: (values) => values,
  },
  train: {
    title: "Train a translation model",
    hint: "Pairs in, a line each, a tab between the sides; a model that Translate offers out.",
    more: '{"seed": 2}',
    fields: [
      { name: "source_lang", label: "From", type: "text", needed: true, hint: "Such as en." },
      { name: "target_lang", label: "Into", type: "text", needed: true, hint: "Such as de." },
      { name: "pairs", label: "Pairs to learn from", type: "file", needed: true },
      { name: "dev", label: "Pairs to measure on", type: "file", hint: "Without them it cannot stop early, and there is no BLEU." },
      { name: "steps", label: "Steps", type: "number", needed: true, value: "2000" },
      { name: "publish", label: "Name of the model", type: "text", hint: NAME },
      { name: "device", label: "On", type: "choice", choices: ["cpu", "cuda"] },
    ],
    settings: ({ source_lang, target_lang, pairs, dev, steps, ...rest }) => ({
      data: { source_lang, target_lang, corpora: [{ file: pairs }], ...(dev && { dev: [{ file: dev }] }) },
      stages: [{ steps }],
      ...rest,
    }),
  },
};
