// What the states mean to the page: their order, and which buttons can work in them.

/** Trouble first, then what moves, then what is quiet. */
export const ORDER = ["failed", "backoff", "stopping", "paused", "queued", "starting", "running", "stopped", "completed"];

export const RANK = Object.fromEntries(ORDER.map((state, rank) => [state, rank]));

/** States in which a run exists. */
export const LIVE = new Set(["starting", "running", "paused", "stopping"]);

const AT_REST = ["stopped", "completed", "failed"];
const ALIVE = ["starting", "running", "paused"];

/** Buttons by operation: in which states they are there, what is asked before, whether it destroys something. */
export const ACTIONS = {
  start: { label: "Start", states: [...AT_REST, "backoff"] },
  pause: { label: "Pause", states: ["running"] },
  resume: { label: "Resume", states: ["paused"] },
  restart: { label: "Restart", states: ALIVE },
  stop: {
    label: "Stop",
    states: [...ALIVE, "queued", "backoff"],
    asks: "It is asked to end by the signals of its spec; what does not end in time is killed.",
  },
  kill: {
    label: "Kill",
    states: [...ALIVE, "stopping"],
    asks: "SIGKILL ends its whole tree of processes at once. Nothing of it can save its work.",
    danger: true,
  },
};

/** The operations that make sense for a worker, if this person may do them. */
export function possible(row, who) {
  const may = who !== null && (who.role === "admin" || (who.role === "operator" && row.owner === who.uid));
  return may ? Object.keys(ACTIONS).filter((op) => ACTIONS[op].states.includes(row.state)) : [];
}
