// Sends a file to the service and tells how far that is, which fetch cannot.

import { Problem, problem } from "./api.js";
import { credentials } from "./key.js";

/**
 * @param {File} file
 * @param {(share: number) => void} onprogress from 0 to 1
 * @returns {Promise<{id: string, name: string, bytes: number}>}
 * @throws {Problem} if the service refuses it or does not answer
 */
export function upload(file, onprogress) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", `v1/uploads?name=${encodeURIComponent(file.name)}`);
    sending.responseType = "json";
    sending.setRequestHeader("Content-Type", "application/octet-stream");
    for (const [name, value] of Object.entries(credentials())) sending.setRequestHeader(name, value);
    sending.upload.addEventListener("progress", ({ loaded, total }) => onprogress(loaded / (total || 1)));
    sending.addEventListener("error", () => reject(new Problem("The service does not answer. Is it still running?")));
    sending.addEventListener("load", () => {
      const { status, response } = sending;
      if (status < 300) resolve(response);
      else reject(problem(status, response ?? {}));
    });
    sending.send(file);
  });
}
