// The models of the service: what is in memory, how much it takes, and loading and unloading.

import { ask, tell, tellAbsent } from "../api.js";
import { models } from "../catalogue.js";
import { action, make } from "../dom.js";
import { counted, nameOf, size } from "../text.js";

const ABSENT = "This service cannot load or unload models while it runs.";

export class ModelsView {
  constructor() {
    this.problem = document.querySelector("#models-problem");
    this.said = document.querySelector("#models-said");
    this.rows = document.querySelector("#models-list");
  }

  async open() {
    try {
      const { own, encoders, translators, bytes } = await models();
      const all = [...encoders, ...translators];
      const loaded = all.filter((model) => model.loaded);
      this.rows.replaceChildren(...all.map((model) => this.row(model, own)));
      this.said.textContent = `${counted(all.length, "model")}, ${loaded.length} in memory: ${size(bytes)} of weights.`;
      tell(this.problem, null);
    } catch (error) {
      tell(this.problem, error);
    }
  }

  row(model, own) {
    const verb = model.loaded ? "unload" : "load";
    const text = model.loaded ? "Unload" : "Load";
    const button = action(text, () => this.change(model, verb, button), { "aria-label": `${text} ${model.name}` });
    const state = model.loaded ? "loaded" : "not loaded";
    return make("li", {},
      make("div.what", {},
        make("strong", {}, model.name),
        make("span.state", { "data-state": model.loaded ? "done" : "queued" }, state),
        model.name === own.name ? make("span.hint", {}, "the default") : null,
      ),
      make("p.hint", {}, about(model)),
      button,
    );
  }

  async change(model, verb, button) {
    button.disabled = true;
    this.said.textContent = `${verb === "load" ? "Loading" : "Unloading"} ${model.name}…`;
    try {
      await ask(`v1/models/${encodeURIComponent(model.name)}/${verb}`, undefined, "POST");
      await this.open();
      this.rows.querySelector(`[aria-label$=" ${CSS.escape(model.name)}"]`)?.focus();
    } catch (error) {
      this.said.textContent = "";
      tellAbsent(this.problem, error, ABSENT);
    }
    button.disabled = false;
  }
}

/** One line of what is known of a model. */
function about({ kind, layers, dim, languages, source_langs, target_langs, bytes, dtype, device, engine, revision, fingerprint }) {
  const shape = layers && dim ? `${counted(layers, "layer")} × ${dim}` : null;
  const named = (codes) => codes.map(nameOf).join(", ");
  const way = source_langs?.length && target_langs?.length ? `${named(source_langs)} → ${named(target_langs)}` : null;
  const tongues = way ?? (languages?.length ? named(languages) : null);
  const version = revision ? `revision ${revision}` : fingerprint ? `weights ${fingerprint}` : null;
  return [kind, shape, tongues, bytes ? size(bytes) : null, dtype, device, engine, version].filter(Boolean).join(" · ");
}
