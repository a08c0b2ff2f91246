// One worker, beside the list or over it: head, buttons, tabs.

import { Actions } from "./actions.js";
import { get } from "./api.js";
import { since, detail } from "./columns.js";
import { h, icon, say, setIcon } from "./dom.js";
import { Log } from "./log.js";
import { Overview } from "./overview.js";
import { runs } from "./runs.js";
import { spec } from "./spec.js";
import { Story } from "./story.js";
import { Tabs } from "./tabs.js";

const AGAIN = 10_000; // milliseconds after which what was told is old
const TABS = { overview: "Overview", log: "Log", story: "Story", runs: "Runs", spec: "Spec" };

export class Panel {
  #name = "";
  #tab = "overview";
  #row = null;
  #run = null;
  #asked = 0;
  #learned = 0;
  #told = null;

  /** on.close(); on.tab(tab); who(): the answer of `whoami`. */
  constructor(element, workers, usage, who, on) {
    this.element = element;
    this.workers = workers;
    this.on = on;
    this.log = new Log();
    this.story = new Story();
    this.overview = new Overview(usage);
    this.runs = h("div", { class: "scroll", tabindex: 0 });
    this.spec = h("div", { class: "scroll", tabindex: 0 });
    this.actions = new Actions(who);
    this.tabs = new Tabs(TABS, { ...this, overview: h("div", { class: "scroll", tabindex: 0 }, this.overview.element) }, (tab) => on.tab(tab));
    this.#head();
    usage.addEventListener("change", () => this.#name && this.#tab === "overview" && this.overview.draw(this.#name));
    workers.addEventListener("change", ({ detail: { name } }) => (name === null || name === this.#name) && this.#changed());
  }

  #head() {
    this.title = h("h2", { tabindex: -1 });
    this.sign = icon("queued");
    this.word = h("b", {});
    this.time = h("span", { class: "dim" });
    this.reason = h("span", { class: "reason" });
    const close = h("button", { type: "button", class: "plain close", "aria-label": "Close", onclick: () => this.on.close() }, "×");
    const state = h("p", { class: "state" }, this.sign, this.word, this.time, this.reason);
    this.element.append(h("header", {}, h("div", { class: "title" }, this.title, close), state, this.actions.element), this.tabs.element);
  }

  /** Shows a worker, or nothing. */
  show(name, tab) {
    const other = name !== this.#name;
    this.#tab = TABS[tab] ? tab : "overview";
    if (other) {
      this.#name = name;
      this.#told = null;
      this.#run = null;
      this.log.close();
      this.story.close();
      this.overview.clear();
      this.runs.replaceChildren();
      this.spec.replaceChildren();
    }
    this.element.hidden = !name;
    if (!name) return;
    this.tabs.show(this.#tab);
    say(this.title, name);
    this.#changed();
    this.#live();
  }

  /** The second hand: times go on, and now and then it is asked why again. */
  tick() {
    if (!this.#row) return;
    say(this.time, since(this.#row));
    if (this.#tab === "overview" && performance.now() - this.#learned > AGAIN) this.#learn();
  }

  /** It is known (anew) who we are. */
  introduced() {
    this.actions.show(this.#row);
  }

  /** Lets the keyboard begin here. */
  focus() {
    this.title.focus({ preventScroll: true });
  }

  #changed() {
    const row = this.workers.rows.get(this.#name) ?? null;
    if (!this.#name || (row && row === this.#row)) return;
    this.#row = row;
    this.actions.show(row);
    setIcon(this.sign, row ? row.state : "queued");
    say(this.word, row ? row.state : "unknown");
    say(this.time, row ? since(row) : "");
    const [text, isCommand] = row ? detail(row) : ["there is no such worker", false];
    say(this.reason, text);
    this.reason.classList.toggle("command", isCommand);
    if (row) this.#learn();
  }

  /** Asks for what the row does not tell; the newest answer counts. */
  async #learn() {
    const asked = (this.#asked += 1);
    const name = this.#name;
    this.#learned = performance.now();
    try {
      const [[why], [told]] = await Promise.all([get("why", { name }), get("show", { name })]);
      if (asked !== this.#asked || name !== this.#name) return;
      this.#told = told;
      this.overview.explain(why.sentences);
      this.overview.describe(told);
      this.overview.draw(name);
      this.runs.replaceChildren(runs(told.runs, (id) => this.#logOf(id)));
      this.spec.replaceChildren(spec(told.spec, told.revisions));
      this.#live();
    } catch (error) {
      if (asked === this.#asked) this.overview.explain([error.message]);
    }
  }

  #logOf(run) {
    this.#run = run;
    this.on.tab("log");
    this.#live();
  }

  /** Streams run only in the tab that is open. */
  #live() {
    if (this.#tab === "story") this.story.show(this.#name);
    else this.story.close();
    if (this.#tab !== "log") this.log.close();
    else if (this.#told) this.log.show(this.#name, this.#told.spec.log?.separate ?? false, this.#run);
    if (this.#tab !== "log") this.#run = null;
  }
}
