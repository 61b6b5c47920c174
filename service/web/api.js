// The service's API. A refusal comes as problem+json, whose detail is one sentence for a person.

export class Problem extends Error {}

/** Ask `path` (relative to the page, which may lie under a prefix); send `body` as JSON if given. */
export async function ask(path, body) {
  const request = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  let response;
  try {
    response = await fetch(path, request);
  } catch {
    throw new Problem("The service does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Problem(answer.detail ?? `The service answered ${response.status}.`);
  }
  return answer;
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

/** Show a problem's sentence in `place`, or hide it where there is none. */
export function tell(place, error) {
  if (error && !(error instanceof Problem)) throw error;
  const sentence = error?.message ?? "";
  const stop = /[.?!…]$/.test(sentence) ? "" : ".";
  place.textContent = sentence && sentence[0].toUpperCase() + sentence.slice(1) + stop;
  place.hidden = !sentence;
}
