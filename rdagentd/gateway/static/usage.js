// What runs use, asked for while somebody looks, and kept for the plots.

import { get } from "./api.js";

export const KEPT = 90;
const OFTEN = 2000; // milliseconds between two looks, if the host can afford it
const SHARE = 20; // a look may take a twentieth of the time between two

/** A number that was measured now and then: the last KEPT of them. */
export class Series {
  values = new Float64Array(KEPT).fill(NaN);
  at = 0;

  add(value) {
    this.values[this.at % KEPT] = value;
    this.at += 1;
  }

  /** Oldest first; NaN where nothing was measured. */
  *[Symbol.iterator]() {
    for (let i = 0; i < KEPT; i += 1) yield this.values[(this.at + i) % KEPT];
  }
}

/** Asks for the usage of all workers that run, again and again, less often where that takes long. */
export class Usage extends EventTarget {
  #known = new Map();
  #timer = 0;
  #looking = false;
  #every = OFTEN;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => this.look());
  }

  /** Of a worker that runs: {cpu (1: one CPU), memory, usage (as the daemon tells), series: {cpu, memory}}; else null. */
  of = (name) => this.#known.get(name) ?? null;

  /** Seconds between two points of a plot. */
  get step() {
    return this.#every / 1000;
  }

  /** Looks now, and then from time to time. */
  async look() {
    clearTimeout(this.#timer);
    if (document.hidden || this.#looking) return;
    this.#looking = true;
    const began = performance.now();
    try {
      const told = await get("usage");
      this.take(told, (began + performance.now()) / 2);
      this.#every = Math.max(OFTEN, SHARE * (performance.now() - began));
    } catch {
      this.#every = 2 * OFTEN; // that the daemon is away is told by the live stream
    }
    this.#looking = false;
    this.#timer = setTimeout(() => this.look(), this.#every);
  }

  /** Notes what was told at a time (milliseconds). */
  take(told, at) {
    const known = new Map();
    for (const { name, usage } of told) {
      const before = this.#known.get(name);
      const busy = (usage.user ?? 0) + (usage.system ?? 0);
      const goesOn = before && busy >= before.busy;
      const cpu = goesOn ? (1000 * (busy - before.busy)) / Math.max(1, at - before.at) : null;
      const series = goesOn ? before.series : { cpu: new Series(), memory: new Series() };
      if (cpu !== null) series.cpu.add(cpu);
      series.memory.add(usage.memory ?? NaN);
      known.set(name, { cpu, memory: usage.memory, usage, busy, at, series });
    }
    this.#known = known;
    this.dispatchEvent(new Event("change"));
  }
}
