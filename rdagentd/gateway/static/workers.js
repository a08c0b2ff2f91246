// The workers as the daemon last told them. Views ask for what they need when something changed.

import { plain } from "./format.js";

const searched = (row) => [row.name, row.state, row.group, reason(row), command(row), labels(row).join(" ")];

export class Workers extends EventTarget {
  /** Rows by name. A row that changes is another object. */
  rows = new Map();
  #texts = new WeakMap();

  /** All of them, anew. */
  replace(rows) {
    const told = performance.now();
    this.rows = new Map(rows.map((row) => [row.name, dated(row, told)]));
    this.#tell(null);
  }

  /** One that is new or another than before. */
  put(row) {
    this.rows.set(row.name, dated(row, performance.now()));
    this.#tell(row.name);
  }

  /** One that is gone. */
  drop(name) {
    if (this.rows.delete(name)) this.#tell(name);
  }

  /** What a filter looks through, in lower case. */
  text(row) {
    let text = this.#texts.get(row);
    if (text === undefined) this.#texts.set(row, (text = searched(row).join("\n").toLowerCase()));
    return text;
  }

  #tell(name) {
    this.dispatchEvent(new CustomEvent("change", { detail: { name } }));
  }
}

/** `due_in` counts from when the row was told. */
function dated(row, told) {
  return { ...row, told };
}

/** Seconds until what the worker waits for; null if it waits for no time. */
export function due(row) {
  if (row.due_in === null || row.due_in === undefined) return null;
  return Math.max(0, row.due_in - (performance.now() - row.told) / 1000);
}

export const reason = (row) => plain(row.reason?.text ?? "");
export const command = (row) => plain(row.command.join(" "));
export const labels = (row) => Object.entries(row.labels).map(([key, value]) => plain(`${key}=${value}`));
