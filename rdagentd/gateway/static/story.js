// The story of a worker: its events, the newest first, as they happen.

import { h } from "./dom.js";
import { clock } from "./format.js";
import { follow } from "./stream.js";

const BACK = 200;
const MOST = 1000;
const ERRORS = new Set(["failed", "refused"]);

export class Story {
  #stream = null;
  #name = "";
  #newest = 0;

  constructor() {
    this.list = h("ol", { class: "story", "aria-label": "Story" });
    this.element = h("div", { class: "scroll", tabindex: 0 }, this.list);
  }

  show(name) {
    if (name === this.#name) return;
    this.close();
    this.#name = name;
    this.#stream = follow("events", { name, tail: BACK, follow: true }, { event: ({ data }) => this.#take(data) });
  }

  close() {
    this.#stream?.close();
    this.#stream = null;
    this.#name = "";
    this.#newest = 0;
    this.list.replaceChildren();
  }

  #take(event) {
    if (event.seq <= this.#newest) return;
    this.#newest = event.seq;
    const by = event.by === null || event.by === undefined ? null : h("span", { class: "dim" }, ` by uid ${event.by}`);
    const time = h("time", { datetime: new Date(1000 * event.at).toISOString() }, clock(event.at));
    const kind = h("span", { class: `kind${ERRORS.has(event.kind) ? " bad" : ""}` }, event.kind);
    this.list.prepend(h("li", {}, time, kind, h("span", { class: "text" }, event.text, by)));
    if (this.list.childElementCount > MOST) this.list.lastElementChild.remove();
  }
}
