// The host: CPU, memory, disk and the queue, in the bar at the top and, larger, beside the list.

import { get } from "./api.js";
import { h, say } from "./dom.js";
import { count } from "./format.js";
import { Plot } from "./plot.js";
import { Series } from "./usage.js";
import { LIVE } from "./states.js";
import { reason } from "./workers.js";

const EVERY = 5000; // milliseconds
const GAUGES = { cpu: "CPU", memory: "Memory", disk: "Disk" };
const HIGH = { cpu: 101, memory: 90, disk: 90 }; // percent from which a number is painted as trouble; a busy CPU is none

export class Host {
  #timer = 0;
  #values = {};
  #groups = new Map();
  #held = [];
  #series = { cpu: new Series(), memory: new Series(), disk: new Series() };
  #tiles = {};

  /** bar: for the tiles; element: for the large view. on.open(), on.close(). */
  constructor(bar, element, workers, on) {
    this.workers = workers;
    this.element = element;
    const tiles = Object.entries(GAUGES).map(([key, title]) => this.#tile(key, title));
    this.queue = h("b", {}, "–");
    this.note = h("span", { class: "note" });
    const button = h("button", { type: "button", class: "host", title: "The host in detail", onclick: on.open }, ...tiles, h("span", { class: "tile queue" }, h("span", { class: "dim" }, "Queue"), this.queue, this.note));
    bar.append(button);
    this.#large(on);
    document.addEventListener("visibilitychange", () => this.look());
    workers.addEventListener("change", () => this.#later());
  }

  #tile(key, title) {
    const plot = new Plot(`host ${key}`, 48, 18);
    const number = h("b", {}, "–");
    this.#tiles[key] = { plot, number };
    return h("span", { class: "tile" }, h("span", { class: "dim" }, title), plot.element, number);
  }

  #large(on) {
    this.plots = {};
    const figures = Object.entries(GAUGES).map(([key, title]) => {
      const plot = new Plot(`host ${key}`, 300, 64);
      const number = h("b", {}, "–");
      this.plots[key] = { plot, number };
      return h("figure", {}, h("figcaption", {}, title, " ", number), plot.element);
    });
    this.table = h("tbody", {});
    this.waits = h("ul", { class: "waits" });
    const head = ["Group", "Running", "Slots", "Waiting"].map((title) => h("th", { scope: "col" }, title));
    const close = h("button", { type: "button", class: "plain close", "aria-label": "Close", onclick: on.close }, "×");
    this.title = h("h2", { tabindex: -1 }, "Host");
    const body = [h("div", { class: "plots three" }, ...figures), h("h3", {}, "Groups"), h("table", { class: "groups" }, h("thead", {}, h("tr", {}, ...head)), this.table), h("h3", {}, "What holds the queue"), this.waits];
    this.element.append(h("header", {}, h("div", { class: "title" }, this.title, close)), h("div", { class: "scroll", tabindex: 0 }, ...body));
  }

  show(open) {
    this.element.hidden = !open;
    if (open) this.#queue();
  }

  focus() {
    this.title.focus({ preventScroll: true });
  }

  /** Looks now, and then from time to time, while somebody does. */
  async look() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    try {
      this.#take(await get("../../host"));
    } catch {
      // that the daemon is away is told by the live stream
    }
    this.#timer = setTimeout(() => this.look(), EVERY);
  }

  #take(told) {
    for (const key of Object.keys(GAUGES)) {
      this.#values[key] = told[key] ?? null;
      if (this.#values[key] !== null) this.#series[key].add(this.#values[key]);
    }
    this.#groups = new Map(Object.entries(told.slots ?? {}));
    this.#held = Object.keys(told.held ?? {}).filter((resource) => told.held[resource]);
    this.#draw();
    this.#queue();
  }

  #draw() {
    for (const key of Object.keys(GAUGES)) {
      const value = this.#values[key];
      const told = value === null ? "–" : `${value.toFixed(0)}%`;
      for (const { plot, number } of [this.#tiles[key], this.plots[key]]) {
        say(number, told);
        number.classList.toggle("bad", value >= HIGH[key]);
        plot.draw(this.#series[key], 100);
      }
    }
  }

  #later() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.#queue();
    });
  }

  /** Who waits and for what is in the rows; what holds all of them the daemon measures. */
  #queue() {
    const waiting = [...this.workers.rows.values()].filter((row) => row.state === "queued");
    say(this.queue, String(waiting.length));
    say(this.note, this.#held.length ? `held: ${this.#held.join(", ")}` : "");
    if (this.element.hidden) return;
    this.table.replaceChildren(...this.#counted().map((cells) => h("tr", {}, ...cells.map((cell, i) => h(i ? "td" : "th", i ? {} : { scope: "row" }, cell)))));
    this.waits.replaceChildren(...causes(waiting));
  }

  #counted() {
    const groups = new Map([...this.#groups.keys()].map((group) => [group, [0, 0]]));
    for (const row of this.workers.rows.values()) {
      const numbers = groups.get(row.group) ?? [0, 0];
      if (LIVE.has(row.state)) numbers[0] += 1;
      if (row.state === "queued") numbers[1] += 1;
      groups.set(row.group, numbers);
    }
    return [...groups].sort().map(([group, [live, queued]]) => [group, String(live), slots(this.#groups.get(group)), String(queued)]);
  }
}

/** A group without a bound has infinitely many slots. */
function slots(number) {
  return typeof number === "number" && Number.isFinite(number) ? String(number) : "unlimited";
}

/** For each kind of wait: how many, and the words of the first in line. */
function causes(waiting) {
  if (!waiting.length) return [h("li", { class: "dim" }, "Nobody waits.")];
  const kinds = new Map();
  for (const row of waiting) {
    const kind = `${row.reason?.code ?? ""} ${row.reason?.code === "slot" ? row.group : ""}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), row]);
  }
  return [...kinds.values()].map((rows) => h("li", {}, h("b", {}, count(rows.length, "worker")), ` · ${rows[0].name} ${reason(rows[0])}`));
}
