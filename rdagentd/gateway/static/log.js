// The log of a worker: its last lines, then live. It follows until somebody scrolls up.

import { h, say } from "./dom.js";
import { size } from "./format.js";
import { Find } from "./find.js";
import { Lines, MOST } from "./lines.js";
import { follow } from "./stream.js";

const FIRST = 500; // lines that are shown at once
const BOTTOM = 24; // pixels from the end that still count as the end

export class Log {
  #stream = null;
  #tail = FIRST;
  #name = "";
  #run = null;
  #which = "out";
  #follows = true;
  #waiting = [];
  #frame = 0;

  constructor() {
    this.lines = h("div", { class: "lines" });
    this.scroller = h("div", { class: "log", role: "log", tabindex: 0, "aria-label": "Log", "aria-live": "off" }, this.lines);
    this.kept = new Lines(this.lines);
    this.find = new Find(this.lines);
    this.#bar();
    this.element = h("div", { class: "logs" }, this.bar, this.scroller, this.jump);
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
  }

  /** Shows the log of a worker; apart: whether its streams are kept apart; run: one run's only. */
  show(name, apart, run = null) {
    if (name === this.#name && run === this.#run && this.#stream) return;
    Object.assign(this, { apart });
    this.#name = name;
    this.#run = run;
    this.#which = "out";
    this.#tail = FIRST;
    this.which.hidden = !apart;
    this.which.value = "out";
    this.search.value = "";
    this.find.look("");
    this.#restart();
  }

  /** Nobody looks any more. */
  close() {
    this.#stream?.close();
    this.#stream = null;
    this.#name = "";
    this.kept.clear();
  }

  #bar() {
    const apart = [h("option", { value: "out" }, "stdout"), h("option", { value: "err" }, "stderr")];
    this.which = h("select", { "aria-label": "Stream", onchange: () => this.#switch() }, ...apart);
    this.search = h("input", { type: "search", placeholder: "Search in log", "aria-label": "Search in log", spellcheck: "false" });
    this.search.addEventListener("input", () => this.#look());
    this.search.addEventListener("keydown", (event) => this.#stepped(event));
    this.found = h("output", { class: "found", "aria-live": "polite" });
    this.more = h("button", { type: "button", onclick: () => this.#earlier() }, "Earlier lines");
    this.state = h("span", { class: "dim told" });
    this.bar = h("div", { class: "logbar" }, this.which, this.search, this.found, this.state, this.more);
    this.jump = h("button", { type: "button", class: "jump", hidden: true, onclick: () => this.#end() }, "↓ Follow");
  }

  #switch() {
    this.#which = this.which.value;
    this.#restart();
  }

  #earlier() {
    this.#tail = Math.min(4 * this.#tail, MOST);
    this.#restart();
  }

  #restart() {
    this.#stream?.close();
    this.kept.clear();
    this.#waiting = [];
    this.#setFollows(true);
    say(this.state, "");
    this.#stream = follow("logs", this.#query(), {
      event: ({ data }) => this.#take(data),
      open: () => say(this.state, "live"),
      trouble: (error) => say(this.state, error.message),
      end: () => say(this.state, "ended"),
    });
  }

  #query() {
    return { name: this.#name, stream: this.#which, run: this.#run, follow: true, tail: this.#tail };
  }

  /** Items are drawn once a frame, however many come. */
  #take(item) {
    this.#waiting.push(item);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const item of waiting) {
      if (item.dropped) this.kept.note(`${size(item.dropped)} of output are not kept any more`);
      if (item.data) this.find.more(this.kept.add(item.data));
    }
    this.more.hidden = this.kept.count < this.#tail || this.#tail >= MOST;
    say(this.found, this.find.told);
    if (this.#follows) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.#setFollows(scrollHeight - scrollTop - clientHeight < BOTTOM);
  }

  #setFollows(follows) {
    this.#follows = follows;
    this.jump.hidden = follows;
  }

  #end() {
    this.#setFollows(true);
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.scroller.focus();
  }

  #look() {
    this.find.look(this.search.value);
    say(this.found, this.find.told);
  }

  #stepped(event) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    if (this.find.step(event.shiftKey ? 1 : -1)) this.#setFollows(false);
    say(this.found, this.find.told);
  }
}
