// Puts the page together: the views, the way from one to another, and what the service says of itself.

import { ask } from "./api.js";
import { models } from "./catalogue.js";
import { flash } from "./dom.js";
import { watchKey } from "./key.js";
import { Router } from "./router.js";
import { size } from "./text.js";
import { AlignView } from "./views/align.js";
import { JobsView } from "./views/jobs.js";
import { ModelsView } from "./views/models.js";
import { ProjectView } from "./views/project.js";
import { SearchView } from "./views/search.js";
import { TranslateView } from "./views/translate.js";

const AGAIN = 1000; // milliseconds between two looks at a service that is not ready

const status = document.querySelector("#status");

function say(state, text) {
  if (status.textContent !== text) status.textContent = text; // said aloud once only
  status.dataset.state = state;
}

/** @returns {Promise<boolean>} whether it was ready at once */
async function waitUntilReady() {
  for (let looks = 1; ; looks++) {
    try {
      await ask("ready");
      return looks === 1;
    } catch (error) {
      say(error.status ? "loading" : "failed", error.message);
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}

async function sayWhatIsLoaded() {
  try {
    const { own } = await models();
    say("ready", `model ${own.name.split("/").pop()}${own.loaded ? ` · ${size(own.bytes)}` : ""}`);
  } catch (error) {
    say(error.status ? "ready" : "failed", error.status === 401 ? "needs a key" : error.message);
  }
}

for (const button of document.querySelectorAll("[data-copies]")) {
  button.hidden = !navigator.clipboard; // browsers give it to safe origins only
  button.addEventListener("click", async () => {
    const place = button.dataset.copies;
    await navigator.clipboard.writeText(place ? document.getElementById(place).textContent : location.href);
    flash(button, "Copied");
  });
}

document.querySelector("#skip").addEventListener("click", (event) => {
  event.preventDefault(); // its # would be taken for a view
  document.querySelector("main").focus();
});

const note = (name) => (state) => router.note(name, state);
const router = new Router({
  align: new AlignView(note("align")),
  project: new ProjectView(note("project")),
  search: new SearchView(note("search")),
  translate: new TranslateView(note("translate")),
  jobs: new JobsView((state) => router.go("jobs", state)),
  models: new ModelsView(),
});

watchKey(() => {
  sayWhatIsLoaded();
  router.open();
});

router.open(); // what a view asks for waits in the service until its model is loaded
const atOnce = await waitUntilReady();
await sayWhatIsLoaded();
if (!atOnce) router.open(); // what failed meanwhile
