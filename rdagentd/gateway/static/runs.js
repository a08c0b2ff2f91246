// The runs of a worker: when, how long, what they used, how they ended.

import { now } from "./api.js";
import { h, icon } from "./dom.js";
import { clock, duration, ending, seconds, size } from "./format.js";

/** A list of runs, newest first; onLog(id) shows the log of one. */
export function runs(told, onLog) {
  if (!told.length) return h("p", { class: "dim none" }, "It has not run yet.");
  const head = ["End", "Began", "Took", "CPU", "Memory", "Tasks", ""].map((title) => h("th", { scope: "col" }, title));
  return h("table", { class: "runs" }, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...told.map((run) => row(run, onLog))));
}

function row(run, onLog) {
  const used = run.usage ?? {};
  const took = run.started_at ? duration((run.ended_at ?? now()) - run.started_at) : "–";
  const log = h("button", { type: "button", class: "small", "aria-label": `Log of run ${run.id}`, onclick: () => onLog(run.id) }, "Log");
  const busy = run.usage ? seconds((used.user ?? 0) + (used.system ?? 0)) : "–";
  const memory = used.memory_peak ?? (used.max_rss || null);
  const told = [clock(run.started_at), took, busy, size(memory), used.tasks_peak ?? "–"];
  const head = h("th", { scope: "row", title: `run ${run.id}, attempt ${run.attempt}, revision ${run.revision}` }, icon(sign(run)), run.exit ? ending(run.exit) : "runs");
  return h("tr", {}, head, ...told.map((text) => h("td", {}, String(text))), h("td", {}, log));
}

function sign({ exit }) {
  if (!exit) return "running";
  return exit.kind === "code" && exit.code === 0 ? "completed" : exit.kind === "signal" ? "stopped" : "failed";
}
