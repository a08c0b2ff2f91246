// One worker at a glance: why it is as it is, what it uses against its limits, what it is.

import { h } from "./dom.js";
import { clock, count, cpu, duration, seconds, size } from "./format.js";
import { peak, Plot } from "./plot.js";
import { LIVE } from "./states.js";
import { command, labels } from "./workers.js";
import { KEPT } from "./usage.js";

export class Overview {
  #limits = {};
  #usage;
  #plots = { cpu: new Plot("cpu", 300, 56), memory: new Plot("memory", 300, 56) };
  #numbers = { cpu: h("b", {}, "–"), memory: h("b", {}, "–") };
  #most = { cpu: h("span", { class: "dim" }), memory: h("span", { class: "dim" }) };

  constructor(usage) {
    this.#usage = usage;
    this.why = h("div", { class: "why" });
    this.meters = h("div", { class: "meters" });
    this.facts = h("dl", { class: "facts" });
    this.plots = h("div", { class: "plots" }, this.#figure("cpu", "CPU"), this.#figure("memory", "Memory"));
    this.element = h("div", { class: "overview" }, this.why, this.plots, this.meters, this.facts);
  }

  #figure(key, title) {
    const words = h("figcaption", {}, title, " ", this.#numbers[key], " ", this.#most[key]);
    return h("figure", {}, words, this.#plots[key].element);
  }

  /** Another worker, or none: nothing of the last one may be left. */
  clear() {
    this.why.replaceChildren();
    this.meters.replaceChildren();
    this.facts.replaceChildren();
    this.#limits = {};
  }

  /** What `why` told. */
  explain(sentences) {
    this.why.replaceChildren(...sentences.map((sentence) => h("p", {}, ...withCommands(sentence))));
  }

  /** What `show` told. */
  describe({ row, spec, usage, runs }) {
    this.#limits = spec.limits ?? {};
    this.spec = spec;
    const run = row.run;
    const facts = [
      ["Command", h("code", {}, command(row))],
      ["Run", run ? `${run.id}${LIVE.has(row.state) && run.pid ? `, process ${run.pid}` : ""}` : "none yet"],
      ["Began", run?.started_at ? clock(run.started_at) : "–"],
      ["Attempt", `${row.attempt}, ${count(row.restarts, "restart")}`],
      ["Wish", row.want],
      ["Group", `${row.group}${row.priority ? `, priority ${row.priority}` : ""}`],
      ["Labels", labels(row).join(", ") || "–"],
      ["Owner", `uid ${row.owner}`],
      ["Revision", String(row.revision)],
    ];
    this.facts.replaceChildren(...facts.flatMap(([term, told]) => [h("dt", {}, term), h("dd", {}, told)]));
    this.#meter(usage ?? (LIVE.has(row.state) ? null : runs[0]?.usage), LIVE.has(row.state));
  }

  /** The latest numbers. */
  draw(name) {
    const used = this.#usage.of(name);
    const top = {
      cpu: (series) => Math.max(this.#limits.cpu ?? 0, peak(series, 0.25)),
      memory: (series) => Math.max(this.#limits.memory ?? 0, 1.15 * peak(series, 1 << 20)),
    };
    for (const key of ["cpu", "memory"]) {
      const series = used?.series[key];
      this.#numbers[key].textContent = used ? { cpu, memory: size }[key](used[key]) : "–";
      this.#most[key].textContent = series ? `${{ cpu, memory: size }[key](top[key](series))} at the top, last ${duration(this.#usage.step * KEPT)}` : "";
      this.#plots[key].draw(series, series ? top[key](series) : 1);
    }
    this.plots.hidden = !used;
    if (used) this.#meter(used.usage, true, used.cpu);
  }

  #meter(usage, live, busy = null) {
    if (!usage) {
      this.meters.replaceChildren();
      return;
    }
    const limits = this.#limits;
    const { state, cache } = this.spec ?? {};
    const rows = [
      ["Memory", live ? usage.memory : usage.memory_peak, limits.memory, size, live && usage.memory_peak ? `most ${size(usage.memory_peak)}` : ""],
      ["CPU", busy, limits.cpu, (share) => `${share.toFixed(2)} CPUs`, `${seconds((usage.user ?? 0) + (usage.system ?? 0))} so far`],
      ["Tasks", live ? usage.tasks : usage.tasks_peak, limits.tasks, String, live && usage.tasks_peak ? `most ${usage.tasks_peak}` : ""],
      ["State", usage.disk?.state, state?.quota, size, ""],
      ["Cache", usage.disk?.cache, cache?.size, size, ""],
      ["Read", usage.read, null, size, ""],
      ["Written", usage.written, null, size, ""],
      ["Log", usage.log, null, size, ""],
    ];
    const known = rows.filter(([, used, limit]) => (used ?? null) !== null || (limit ?? null) !== null);
    this.meters.replaceChildren(h("h3", {}, live ? "In use" : "Used by its last run"), ...known.map((row) => meter(...row)));
  }
}

/** One thing that is used: its number, and a bar if there is a limit. */
function meter(title, used, limit, words, more) {
  const bounded = typeof limit === "number";
  const known = typeof used === "number";
  const told = `${known ? words(used) : "–"}${bounded ? ` of ${words(limit)}` : ""}`;
  const bar = bounded && known ? gauge(used / limit, `${title}: ${told}`) : null;
  return h("div", { class: "meter" }, h("span", { class: "what" }, title), h("span", { class: "told" }, told), h("span", {}, bar), h("span", { class: "dim" }, more));
}

/** A bar that is filled from 0 to 1; near its end in another colour. */
function gauge(share, label) {
  const fill = h("div", { class: share > 0.9 ? "full" : "" });
  fill.style.width = `${100 * Math.min(1, share)}%`;
  const told = { role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(100 * share) };
  return h("div", { class: "gauge", ...told }, fill);
}

/** A sentence whose commands of rdagentctl are set as such. */
function withCommands(sentence) {
  return sentence.split(/(rdagentctl [^;]*?)(?=\.?$|;)/).map((part) => (part.startsWith("rdagentctl ") ? h("code", {}, part) : part));
}
