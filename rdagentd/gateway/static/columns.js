// The columns of the list: what each is called, and how a cell of it is made and filled.

import { now } from "./api.js";
import { h, icon, say, setIcon } from "./dom.js";
import { cpu, dollars, duration, ending, size } from "./format.js";
import { peak, Plot } from "./plot.js";
import { LIVE } from "./states.js";
import { command, due, reason } from "./workers.js";

/** How long it has been so, or when it will go on. */
export function since(row) {
  if (LIVE.has(row.state)) return row.run?.started_at ? duration(now() - row.run.started_at) : "–";
  const left = due(row);
  if (left !== null) return `in ${duration(left + 0.999)}`;
  return row.run?.ended_at ? `${duration(now() - row.run.ended_at)} ago` : "–";
}

/** Why it is where it is, or what it does. [text, whether that is its command] */
export function detail(row) {
  if (row.reason && row.state !== "running") return [reason(row), false];
  if ((row.state === "failed" || row.state === "completed") && row.exit) return [ending(row.exit), false];
  return [command(row), true];
}

/** A cell with one text. */
function text(classes, told) {
  return () => {
    const element = h("div", { class: `cell ${classes}`, role: "gridcell" });
    return { element, show: (row) => say(element, told(row)) };
  };
}

/** A plot and its number. top: what the plot's upper edge stands for. */
function measured(key, words, top) {
  return () => {
    const plot = new Plot(key, 60, 18);
    const number = h("span", { class: "number" });
    let shown = null;
    return {
      element: h("div", { class: `cell measure ${key}`, role: "gridcell" }, plot.element, number),
      show(row, used) {
        say(number, used ? words(used[key]) : "");
        if (used === shown) return;
        shown = used;
        plot.draw(used?.series[key], used ? top(used.series[key]) : 1);
      },
    };
  };
}

/** A bar that fills from 0 to 1. */
function progress() {
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const number = h("span", { class: "number" });
  const element = h("div", { class: "cell progress", role: "gridcell" }, bar, number);
  return {
    element,
    show(row) {
      const none = row.progress === null || row.progress === undefined;
      bar.hidden = none;
      if (!none) bar.value = row.progress;
      say(number, none ? "" : `${Math.round(100 * row.progress)}%`);
    },
  };
}

function state() {
  const sign = icon("queued");
  const word = h("span", {});
  const element = h("div", { class: "cell state", role: "gridcell" }, sign, word);
  return {
    element,
    show(row) {
      setIcon(sign, row.state);
      say(word, row.state);
    },
  };
}

function name() {
  const label = h("span", { class: "label" });
  const group = h("span", { class: "tag" });
  const element = h("div", { class: "cell name", role: "gridcell" }, label, group);
  return {
    element,
    show(row) {
      say(label, row.name);
      group.hidden = row.group === "default";
      say(group, row.group);
    },
  };
}

function why() {
  const element = h("div", { class: "cell detail", role: "gridcell" });
  return {
    element,
    show(row) {
      const [told, isCommand] = detail(row);
      say(element, told);
      element.title = told;
      element.classList.toggle("command", isCommand);
    },
  };
}

/** Whether any row has it: columns of what nobody has stay away. */
const any = (key) => (rows) => rows.some((row) => row[key] !== null && row[key] !== undefined);

export const COLUMNS = [
  { key: "state", title: "State", cell: state },
  { key: "name", title: "Name", cell: name },
  { key: "detail", title: "Reason", cell: why, unsorted: true },
  { key: "health", title: "Health", cell: text("health", (row) => row.health ?? ""), wanted: any("health") },
  { key: "progress", title: "Progress", cell: progress, wanted: any("progress") },
  { key: "cost", title: "Cost", cell: text("cost", (row) => (row.cost_usd == null ? "" : dollars(row.cost_usd))), wanted: any("cost_usd") },
  { key: "cpu", title: "CPU", cell: measured("cpu", cpu, (series) => peak(series, 0.25)) },
  { key: "memory", title: "Memory", cell: measured("memory", size, (series) => 1.15 * peak(series, 1 << 20)) },
  { key: "restarts", title: "Restarts", cell: text("restarts", (row) => (row.restarts ? String(row.restarts) : "–")) },
  { key: "time", title: "Time", cell: text("time", since) },
];
