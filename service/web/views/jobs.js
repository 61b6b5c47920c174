// Jobs: all of them, or the one that the address names, and a form for a new one.

import { ask, tellAbsent } from "../api.js";
import { make } from "../dom.js";
import { counted, moment } from "../text.js";
import { JobPanel } from "./job.js";
import { state, progress } from "./progress.js";
import { SubmitForm } from "./submit.js";

const AGAIN = 3000; // milliseconds between two looks at the list while it is seen
const ABSENT = "This service runs no jobs: it has no /v1/jobs.";

export class JobsView {
  /** @param {(state: Object) => void} go shows another state of this view */
  constructor(go) {
    this.problem = document.querySelector("#jobs-problem");
    this.said = document.querySelector("#jobs-said");
    this.rows = document.querySelector("#jobs-list");
    this.all = document.querySelector("#jobs-all");
    this.panel = new JobPanel(document.querySelector("#job"), () => go({}));
    this.form = new SubmitForm(({ id }) => go({ id }));
  }

  open(state) {
    this.close();
    const id = state.get("id");
    this.all.hidden = id !== null;
    this.panel.place.hidden = id === null;
    tellAbsent(this.problem, null);
    if (id !== null) this.panel.open(id);
    else this.refresh();
  }

  /** Stop looking. */
  close() {
    clearTimeout(this.again);
    this.panel.close();
    this.looking = null;
  }

  /** Show all jobs, now and again. */
  async refresh() {
    const mine = this.looking = {};
    try {
      const { jobs } = await ask("v1/jobs?limit=100");
      if (this.looking !== mine) return;
      this.show(jobs);
      tellAbsent(this.problem, null);
    } catch (error) {
      if (this.looking !== mine) return;
      this.all.hidden = error.absent ?? false;
      tellAbsent(this.problem, error, ABSENT);
      if (error.status) return;
    }
    this.again = setTimeout(() => this.refresh(), AGAIN);
  }

  show(jobs) {
    const text = jobs.length ? counted(jobs.length, "job") : "No jobs yet.";
    if (this.said.textContent !== text) this.said.textContent = text;
    const shown = JSON.stringify(jobs);
    if (shown === this.shown) return;
    this.shown = shown;
    const held = document.activeElement?.dataset.job; // the focus stays where it was
    this.rows.replaceChildren(...jobs.map(row));
    if (held) this.rows.querySelector(`[data-job="${CSS.escape(held)}"]`)?.focus();
  }
}

function row(job) {
  const link = make("a", { href: `#jobs?id=${encodeURIComponent(job.id)}`, "data-job": job.id }, job.name || job.kind);
  return make("li", {},
    make("div.what", {}, link, state(job), job.name ? make("span.hint", {}, job.kind) : null),
    make("p.hint", {}, moment(job.created)),
    progress(job),
  );
}
