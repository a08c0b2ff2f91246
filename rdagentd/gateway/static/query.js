// Which workers are shown, and in which order: pure.

import { RANK, LIVE } from "./states.js";
import { due, labels } from "./workers.js";

/** What one can sort by: the value of a row, and whether the largest stand first. used(name): its latest usage or null. */
export const SORTS = {
  state: { of: (row) => RANK[row.state] ?? 0, down: false },
  name: { of: null, down: false },
  health: { of: (row) => row.health ?? "", down: false },
  progress: { of: (row) => row.progress ?? -1, down: true },
  cost: { of: (row) => row.cost_usd ?? -1, down: true },
  cpu: { of: (row, used) => used(row.name)?.cpu ?? -1, down: true },
  memory: { of: (row, used) => used(row.name)?.memory ?? -1, down: true },
  restarts: { of: (row) => row.restarts, down: true },
  time: { of: age, down: true },
};

/** `name` or `-name` (the other way round than it begins) → [name, whether the largest stand first]. */
export function order(sort) {
  const other = sort.startsWith("-");
  const name = other ? sort.slice(1) : sort;
  const known = Object.hasOwn(SORTS, name) ? name : "state";
  return [known, SORTS[known].down !== other];
}

/** The rows to show. place: q, state, group, label, sort. text(row): what `q` is looked for in, all its words. */
export function choose(rows, place, text, used) {
  const words = place.q.toLowerCase().split(/\s+/).filter(Boolean);
  const states = new Set(place.state.split(",").filter(Boolean));
  const chosen = [];
  for (const row of rows) {
    if (states.size && !states.has(row.state)) continue;
    if (place.group && row.group !== place.group) continue;
    if (place.label && !labels(row).includes(place.label)) continue;
    if (words.length) {
      const whole = text(row);
      if (!words.every((word) => whole.includes(word))) continue;
    }
    chosen.push(row);
  }
  return sorted(chosen, place.sort, used);
}

function sorted(rows, sort, used) {
  const [name, down] = order(sort);
  const { of } = SORTS[name];
  const sign = down ? -1 : 1;
  if (of === null) return rows.sort((a, b) => sign * compare(a.name, b.name));
  const keys = new Map(rows.map((row) => [row, of(row, used)]));
  return rows.sort((a, b) => sign * compare(keys.get(a), keys.get(b)) || compare(a.name, b.name));
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/** Live runs by how long they last, then those that wait for a time, then ends by how long ago. */
function age(row) {
  if (LIVE.has(row.state)) return row.run?.started_at ? 1e12 - row.run.started_at : 1e11;
  const left = due(row);
  if (left !== null) return -left;
  return row.run?.ended_at ? -1e10 + row.run.ended_at : -1e12;
}
