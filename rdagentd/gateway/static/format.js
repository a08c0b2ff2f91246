// Numbers as people read them: the words of rdagentctl.

/** The text on one line without control characters, nor those that turn its direction: it comes from others. */
export const plain = (text) =>
  text.replace(/[\x00-\x1f\x7f]/g, (one) => String.fromCharCode(one === "\x7f" ? 0x2421 : 0x2400 + one.charCodeAt(0))).replace(/[\x80-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "\ufffd");

const UNITS = ["", "K", "M", "G", "T"];

/** A duration in at most two units: "12s", "5m12s", "2h05m", "3d4h". */
export function duration(seconds) {
  const whole = Math.floor(Math.max(0, seconds));
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86400)}d${Math.floor((whole % 86400) / 3600)}h`;
}

/** Bytes in at most four digits and a unit: "512", "1.5K", "64M"; "–" for what nobody knows. */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  let number = bytes;
  let unit = 0;
  while (number >= 1000 && unit < UNITS.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${unit && number < 10 ? number.toFixed(1) : number.toFixed(0)}${UNITS[unit]}`;
}

/** CPUs in use (1 is one whole CPU) as percent of one. */
export function cpu(share) {
  if (share === null || share === undefined) return "–";
  const percent = share * 100;
  return percent < 9.95 && percent >= 0.05 ? `${percent.toFixed(1)}%` : `${percent.toFixed(0)}%`;
}

/** CPU time: "0.25s", "1m05s". */
export const seconds = (number) => (number < 60 ? `${number.toFixed(2)}s` : duration(number));

/** Money in dollars. */
export const dollars = (number) => `$${number < 100 ? number.toFixed(2) : number.toFixed(0)}`;

const TIME = new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit" });

/** Local time of seconds since the epoch, with the day unless that is today. */
export function clock(at, today = DAY.format(new Date())) {
  if (at === null || at === undefined) return "–";
  const date = new Date(at * 1000);
  const day = DAY.format(date);
  return day === today ? TIME.format(date) : `${day} ${TIME.format(date)}`;
}

/** The number and its noun: "1 worker", "2 workers". */
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** A value of a spec as one would write it in TOML. */
export function value(thing) {
  if (Array.isArray(thing)) return `[${thing.map(value).join(", ")}]`;
  if (thing !== null && typeof thing === "object") {
    return `{ ${Object.entries(thing)
      .filter(([, one]) => one !== null)
      .map(([key, one]) => `${key} = ${value(one)}`)
      .join(", ")} }`;
  }
  return typeof thing === "string" ? JSON.stringify(thing) : String(thing);
}

/** How a run ended, in a few words. */
export function ending(exit) {
  if (!exit) return "";
  if (exit.reason) return plain(exit.reason);
  if (exit.signal) return `ended by ${exit.signal}`;
  return exit.code === null ? exit.kind.replaceAll("_", " ") : `exit code ${exit.code}`;
}
