// The models of the service, by what they are for.

import { ask } from "./api.js";

/**
 * A model that requests may name. What is known only of one in memory is null otherwise.
 * @typedef {object} Model
 * @property {string} name
 * @property {"encoder"|"translation"} kind
 * @property {boolean} loaded
 * @property {number|null} bytes
 * @property {number|null} layers of an encoder
 * @property {string[]|null} source_langs of a translation model
 * @property {string[]|null} target_langs
 */

/**
 * Ask which models there are.
 * @returns {Promise<{own: Model, encoders: Model[], translators: Model[], bytes: number}>} `own`: the
 *   encoder of requests that name none, the first one; `bytes`: what all in memory take
 */
export async function models() {
  const { default: own, models: all, bytes } = await ask("v1/models");
  const encoders = all.filter(({ kind }) => kind === "encoder");
  const translators = all.filter(({ kind }) => kind === "translation");
  return { own: encoders.find(({ name }) => name === own), encoders, translators, bytes };
}
