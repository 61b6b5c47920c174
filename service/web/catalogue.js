// The models of the service, by what they are for.

import { ask } from "./api.js";

/**
 * @typedef {object} Model
 * @property {string} name
 * @property {"encoder"|"translation"} kind
 * @property {boolean} loaded
 * @property {number} [layers]
 */

/**
 * Ask which models there are.
 * @returns {Promise<{own: string, encoders: Model[], translators: Model[]}>} `own`: the encoder that is
 *   used where a request names none; it is the first
 */
export async function models() {
  const { default: own, available, loaded, models: all } = await ask("v1/models");
  const listed = all ?? available.map((name) => ({
    name, kind: "encoder", loaded: false, ...loaded.find((model) => model.name === name),
  }));
  const encoders = listed.filter(({ kind }) => kind === "encoder");
  encoders.sort((a, b) => (b.name === own) - (a.name === own));
  return { own, encoders, translators: listed.filter(({ kind }) => kind === "translation") };
}
