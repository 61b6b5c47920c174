// The service's API. A refusal comes as problem+json, whose detail is one sentence for a person.

import { credentials, wantKey } from "./key.js";

const ABSENT = [404, 405]; // an address, or a way to use it, that this service does not have

export class Problem extends Error {
  constructor(sentence, { status = 0, type = "" } = {}) {
    super(sentence);
    this.status = status;
    this.type = type;
  }

  /** Whether the service has no such feature, rather than no such thing. */
  get absent() {
    return ABSENT.includes(this.status) && this.type === "about:blank";
  }
}

/**
 * Ask `path`, relative to the page, which may lie under a prefix.
 * @throws {Problem} if the service refuses or does not answer
 */
export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...options.headers, ...credentials() } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service does not answer. Is it still running?");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** Ask `path` and read the answer; send `body` as JSON if given. */
export async function ask(path, body, method = body === undefined ? "GET" : "POST") {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await request(path, options);
  return response.status === 204 ? null : response.json();
}

async function refusal(response) {
  const wait = response.status === 429 && response.headers.get("Retry-After");
  const body = await response.json().catch(() => ({}));
  return problem(response.status, body, wait ? ` Try again in ${wait} s.` : "");
}

/** What a refusal means for a person; a missing key is asked for. */
export function problem(status, { detail, type = "about:blank" }, more = "") {
  const sentence = asSentence(detail ?? `the service answered ${status}`) + more;
  if (status === 401) wantKey(credentials().Authorization ? sentence : "This service wants an API key.");
  return new Problem(sentence, { status, type });
}

function asSentence(text) {
  return text && text[0].toUpperCase() + text.slice(1) + (/[.?!…]$/.test(text) ? "" : ".");
}

/** A function that forgets the answers which a later question has overtaken: they come as null. */
export function latest(question) {
  let asked = 0;
  return async (...args) => {
    const mine = ++asked;
    try {
      const answer = await question(...args);
      return mine === asked ? answer : null;
    } catch (error) {
      if (mine !== asked) return null;
      throw error;
    }
  };
}

/** Show a problem's sentence in `place`, or hide it where there is none, or the key is asked for. */
export function tell(place, error) {
  if (error && !(error instanceof Problem)) throw error;
  place.textContent = error?.message ?? "";
  place.hidden = !error || error.status === 401;
}

/** The same; where the service has no such feature, say instead that it `lacks` it. */
export function tellAbsent(place, error, lacks) {
  tell(place, error?.absent ? new Problem(lacks) : error);
}
