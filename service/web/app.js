// Waits until the service is ready, then shows the examples that the page comes with.

import { AlignPanel } from "./align.js";
import { ask } from "./api.js";
import { SearchPanel } from "./search.js";

const AGAIN = 1000; // milliseconds between two looks at a service that is not ready

const status = document.querySelector("#status");

function say(state, text) {
  if (status.textContent !== text) status.textContent = text; // said aloud once only
  status.dataset.state = state;
}

async function waitUntilReady() {
  for (;;) {
    try {
      await ask("ready");
      return;
    } catch (error) {
      say("loading", error.message);
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}

async function sayWhatIsLoaded() {
  const { default: name, models } = await ask("v1/models");
  const model = models.find((one) => one.name === name);
  const size = model?.loaded ? ` · ${model.layers} layer${model.layers === 1 ? "" : "s"} × ${model.dim} · ${Math.round(model.bytes / 1e6)} MB` : "";
  say("ready", `model ${name.split("/").pop()}${size}`);
}

for (const button of document.querySelectorAll("[data-copies]")) {
  button.hidden = !navigator.clipboard; // browsers give it to safe origins only
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

const align = new AlignPanel();
const search = new SearchPanel();
await waitUntilReady();
await sayWhatIsLoaded();
await Promise.all([align.start(), search.refresh().then(() => search.run())]);
