// One job as it goes on: progress, curves, log, what it made, and what can be done with it.

import { ask, request, tell } from "../api.js";
import { action, make } from "../dom.js";
import { Curves } from "../drawing/curves.js";
import { follow } from "../events.js";
import { credentials } from "../key.js";
import { moment, size } from "../text.js";
import { isFinished, progress, state } from "./progress.js";

const TAIL = 1000; // lines of the log that are shown

export class JobPanel {
  /**
   * @param {HTMLElement} place
   * @param {() => void} leave shows all jobs
   */
  constructor(place, leave) {
    this.place = place;
    this.leave = leave;
    this.part = (name) => place.querySelector(`.job-${name}`);
    this.curves = new Curves(this.part("curves"));
    this.lines = [];
  }

  /** Show a job and follow it: the stream begins with all that there is so far. */
  open(id) {
    this.abort = new AbortController();
    this.path = `v1/jobs/${encodeURIComponent(id)}`;
    this.id = id;
    this.clear();
    return follow(`${this.path}/events`, (event) => this.take(event), (error) => this.cut(error), this.abort.signal);
  }

  close() {
    this.abort?.abort();
  }

  clear() {
    this.place.classList.add("loading");
    this.lines = [];
    this.curves.clear();
    this.part("log").textContent = "";
    tell(this.part("problem"), null);
  }

  take({ name, data }) {
    if (name === "job") this.show(data);
    if (name === "measurement") this.curves.add(data);
    if (name === "log") this.addLines(data.lines);
    if (name === "job" && isFinished(data)) this.close();
  }

  cut(error) {
    tell(this.part("problem"), error);
  }

  show(job) {
    this.place.classList.remove("loading");
    this.part("name").textContent = job.name || job.kind;
    const said = this.part("state");
    if (said.textContent !== job.state) said.replaceChildren(state(job)); // said aloud when it changes
    this.part("times").textContent = times(job);
    this.part("progress").replaceChildren(progress(job));
    this.part("settings").textContent = JSON.stringify(job.settings, null, 2);
    this.offer(job);
    this.showArtefacts(job);
  }

  /** Buttons for what can be done now; the focus stays on one that stays. */
  offer(job) {
    const over = isFinished(job);
    const wanted = [];
    if (!over && job.state !== "cancelling") wanted.push("cancel");
    if (over && job.state !== "done") wanted.push("retry");
    if (over) wanted.push("delete");
    const place = this.part("actions");
    if (place.dataset.for === wanted.join()) return;
    place.dataset.for = wanted.join();
    const actions = {
      cancel: () => action("Cancel", () => this.change("cancel")),
      retry: () => action("Go on", () => this.change("retry")),
      delete: () => action("Delete", (event) => this.remove(event.target)),
    };
    place.replaceChildren(...wanted.map((name) => actions[name]()));
  }

  async change(verb) {
    try {
      await ask(`${this.path}/${verb}`, undefined, "POST");
      this.close();
      this.open(this.id);
    } catch (error) {
      tell(this.part("problem"), error);
    }
  }

  /** Its files go with it, so it takes a second press. */
  async remove(button) {
    if (!button.dataset.sure) {
      button.dataset.sure = "yes";
      button.textContent = "Delete it and its files?";
      return;
    }
    try {
      await ask(this.path, undefined, "DELETE");
      this.leave();
    } catch (error) {
      tell(this.part("problem"), error);
    }
  }

  showArtefacts({ artefacts }) {
    this.part("made").hidden = !artefacts.length;
    this.part("artefacts").replaceChildren(...artefacts.map(({ name, bytes }) => {
      const link = make("a", { href: `${this.path}/artefacts/${encodeURIComponent(name)}`, download: true }, name);
      link.addEventListener("click", (event) => this.download(event, link));
      return make("li", {}, link, make("span.hint", {}, size(bytes)));
    }));
  }

  /** A plain link shows the service no key: with one, the file goes through the page. */
  async download(event, link) {
    if (!credentials().Authorization) return;
    event.preventDefault();
    try {
      const response = await request(link.getAttribute("href"));
      const named = response.headers.get("Content-Disposition")?.match(/filename="?([^";]+)/)?.[1];
      const address = URL.createObjectURL(await response.blob());
      make("a", { href: address, download: named ?? link.textContent }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      tell(this.part("problem"), error);
    }
  }

  /** More lines of the log; it stays at its end unless somebody has scrolled up. */
  addLines(lines) {
    if (!lines.length) return;
    const log = this.part("log");
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 20;
    this.lines = [...this.lines, ...lines].slice(-TAIL);
    log.textContent = this.lines.join("\n");
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
}

function times({ kind, created, started, finished, attempts }) {
  const parts = [kind, `asked for ${moment(created)}`];
  if (started) parts.push(`started ${moment(started)}`);
  if (finished) parts.push(`finished ${moment(finished)}`);
  if (attempts > 1) parts.push(`${attempts} attempts`);
  return parts.join(" · ");
}
