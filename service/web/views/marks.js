// The spans that a person has marked in a text field: kept in code points, and moved along when the
// text before them changes.

import { toPoints } from "../text.js";

export class Marks {
  /** @param {HTMLTextAreaElement} field */
  constructor(field) {
    this.field = field;
    this.text = field.value;
    this.all = []; // {start, end, label}
    this.onchange = () => {};
    field.addEventListener("input", () => this.follow());
  }

  /** Mark what is selected; spaces at its ends do not belong to it. */
  addSelected(label) {
    const { value, selectionStart, selectionEnd } = this.field;
    const chosen = value.slice(selectionStart, selectionEnd);
    const [head, tail] = [chosen.length - chosen.trimStart().length, chosen.length - chosen.trimEnd().length];
    const start = toPoints(value, selectionStart + head);
    const end = toPoints(value, selectionEnd - tail);
    if (start >= end) return false;
    this.put([...this.all, { start, end, label }]);
    return true;
  }

  remove(mark) {
    this.put(this.all.filter((one) => one !== mark));
  }

  put(marks) {
    this.text = this.field.value;
    const same = (a, b) => a.start === b.start && a.end === b.end && a.label === b.label;
    const once = marks.filter((mark, number) => marks.findIndex((other) => same(mark, other)) === number);
    this.all = once.sort((a, b) => a.start - b.start || b.end - a.end);
    this.onchange();
  }

  /** What is marked, as text. */
  textOf({ start, end }) {
    return [...this.text].slice(start, end).join("");
  }

  /** Keep the marks whose text is still there. */
  follow() {
    const [old, now] = [[...this.text], [...this.field.value]];
    const least = Math.min(old.length, now.length);
    let head = 0;
    while (head < least && old[head] === now[head]) head++;
    let tail = 0;
    while (tail < least - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
    const [changed, moved] = [old.length - tail, now.length - old.length];
    const kept = this.all.flatMap((mark) => {
      if (mark.end <= head) return [mark];
      if (mark.start >= changed) return [{ ...mark, start: mark.start + moved, end: mark.end + moved }];
      return [];
    });
    this.put(kept);
  }
}
