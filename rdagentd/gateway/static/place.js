// Where the person is: filter, order, worker and tab stand in the address, so that back, reload and links work.

const PLAIN = { worker: "", tab: "", q: "", state: "", group: "", label: "", sort: "" };

/** What the hash of the address says: `#/worker/NAME/TAB?q=…&state=…`, `#/host?…`, `#/?…`. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view, name = "", tab = ""] = path.split("/").map(decode);
  const asked = new URLSearchParams(query);
  const place = { ...PLAIN, host: view === "host" };
  for (const key of ["q", "state", "group", "label", "sort"]) place[key] = asked.get(key) ?? "";
  if (view === "worker") Object.assign(place, { worker: name, tab });
  return place;
}

/** The hash for a place. */
export function format(place) {
  const query = new URLSearchParams();
  for (const key of ["q", "state", "group", "label", "sort"]) if (place[key]) query.set(key, place[key]);
  const tab = place.tab && place.tab !== "overview" ? `/${place.tab}` : "";
  const path = place.host ? "host" : place.worker ? `worker/${encodeURIComponent(place.worker)}${tab}` : "";
  return `#/${path}${query.size ? `?${query}` : ""}`;
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The place of this page; `go` changes it, listeners are told of each change. */
export class Place {
  #listeners = [];

  constructor() {
    this.now = parse(location.hash);
    addEventListener("popstate", () => this.#arrive());
    addEventListener("hashchange", () => this.#arrive());
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** Goes there. What is typed, or stepped through (replace), replaces the entry in the history; another view makes a new one. */
  go(change, replace = false) {
    const next = { ...this.now, ...change };
    const hash = format(next);
    if (hash === format(this.now)) return;
    const moved = ["worker", "tab", "host"].some((key) => next[key] !== this.now[key]);
    if (moved && !replace) history.pushState(null, "", hash);
    else history.replaceState(null, "", hash);
    this.#arrive();
  }

  #arrive() {
    const before = this.now;
    this.now = parse(location.hash);
    if (format(before) !== format(this.now)) for (const listener of this.#listeners) listener(this.now, before);
  }
}
