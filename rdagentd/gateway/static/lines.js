// The lines of a log on the screen: in blocks, of which the browser lays out only those that are seen.

import { pieces } from "./ansi.js";
import { h } from "./dom.js";

export const MOST = 20_000; // lines kept; the oldest go first
const BLOCK = 100;
const LONGEST = 16_384; // characters after which a line is broken: what never ends would be read again and again

export class Lines {
  count = 0;
  #rest = "";
  #last = null; // the line that is not ended yet
  #style = new Set();

  constructor(element) {
    this.element = element;
  }

  clear() {
    this.element.replaceChildren();
    this.#rest = "";
    this.#last = null;
    this.#style.clear();
    this.count = 0;
  }

  /** Adds text as it was written; returns the lines that are new or grew. */
  add(text) {
    const parts = (this.#rest + text).split("\n");
    if (parts.at(-1).length > LONGEST) parts.push("");
    const touched = [];
    parts.forEach((part, i) => {
      const line = this.#last ?? this.#line();
      const ended = i < parts.length - 1;
      const style = ended ? this.#style : new Set(this.#style); // what may still grow is read again
      line.replaceChildren(...pieces(part, style).map(([shown, classes]) => (classes ? h("span", { class: classes }, shown) : shown)));
      touched.push(line);
      this.#last = ended ? null : line;
    });
    this.#rest = parts.at(-1);
    if (this.#rest === "") this.#unmake();
    while (this.count > MOST) this.#dropBlock();
    return touched.filter((line) => line.isConnected);
  }

  /** A line of our own among them. */
  note(text) {
    if (this.#last) this.add("\n");
    this.#place(h("div", { class: "note" }, text));
  }

  #line() {
    return this.#place(h("div", {}));
  }

  #place(line) {
    let block = this.element.lastElementChild;
    if (!block || block.childElementCount >= BLOCK) {
      block = h("div", { class: "block" });
      this.element.append(block);
    }
    block.append(line);
    this.count += 1;
    return line;
  }

  /** The text ended with a newline: there is no next line yet. */
  #unmake() {
    const block = this.#last.parentElement;
    this.#last.remove();
    if (!block.childElementCount) block.remove();
    this.#last = null;
    this.count -= 1;
  }

  #dropBlock() {
    const oldest = this.element.firstElementChild;
    this.count -= oldest.childElementCount;
    oldest.remove();
  }
}
