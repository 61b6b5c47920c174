// Server-sent events, read with fetch: a browser's own EventSource can show the service no key.

import { request } from "./api.js";

const AGAIN = 2000; // milliseconds until a stream that was cut is taken up again

/**
 * Follow the events at `path` until `signal` aborts, from where it was after a cut.
 * @param {(event: {id: string, name: string, data: any}) => void} onevent
 * @param {(error: Error|null) => void} onstate told of a cut, and of its end with null
 */
export async function follow(path, onevent, onstate, signal) {
  let last = "";
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
      const response = await request(path, { headers, signal });
      if (response.status === 204) return; // it has ended
      onstate(null);
      for await (const event of events(response.body)) {
        last = event.id || last;
        onevent({ ...event, data: JSON.parse(event.data) });
      }
    } catch (error) {
      if (signal.aborted) return;
      onstate(error);
      if (error.status >= 400 && error.status < 500) return; // refused, not cut
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}

/** The events of a stream, as the HTML standard has them. */
async function* events(body) {
  let event = { id: "", name: "message", lines: [] };
  for await (const line of lines(body)) {
    const [, field, value] = line.match(/^([^:]*):? ?(.*)$/s);
    if (line === "") {
      if (event.lines.length) yield { id: event.id, name: event.name, data: event.lines.join("\n") };
      event = { ...event, name: "message", lines: [] };
    } else if (field === "id") event.id = value;
    else if (field === "event") event.name = value;
    else if (field === "data") event.lines.push(value);
  }
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r\n|\n/);
    rest = parts.pop();
    yield* parts;
  }
}
