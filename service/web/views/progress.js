// How far a job is: its state as a word, a bar, and when it will be done.

import { make } from "../dom.js";
import { duration } from "../text.js";

const FINISHED = ["done", "failed", "cancelled"];

export function isFinished(job) {
  return FINISHED.includes(job.state);
}

export function state(job) {
  return make("span.state", { "data-state": job.state }, job.state);
}

/** The bar and its words; nothing for a job of which nothing is known or which is over. */
export function progress(job) {
  if (job.state === "failed" && job.error) return make("p.progress.failed", {}, job.error);
  if (job.state !== "running" || !job.progress) return make("p.progress");
  const { done, total } = job.progress;
  const bar = make("progress", { max: total || null, value: total ? done : null, "aria-label": `Progress of ${job.name || job.kind}` });
  return make("p.progress", {}, bar, make("span.hint", {}, words(job.progress)));
}

/** `training · 1,200 of 5,000 steps · 3.2 a second · about 20 min left` */
function words({ stage, done, total, unit, rate, eta_seconds: left }) {
  const number = (value) => value.toLocaleString("en");
  const far = total ? `${number(done)} of ${number(total)} ${unit ?? ""}` : `${number(done)} ${unit ?? ""}`;
  const fast = rate ? `${number(Number(rate.toPrecision(3)))} a second` : null;
  const until = left === null || left === undefined ? null : `about ${duration(left)} left`;
  return [stage === unit ? null : stage, far.trim(), fast, until].filter(Boolean).join(" · ");
}
