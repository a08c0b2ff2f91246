// Puts the page together.

import { get } from "./api.js";
import { $, say } from "./dom.js";
import { Host } from "./host.js";
import { keys } from "./keys.js";
import { List } from "./list.js";
import { Panel } from "./panel.js";
import { Place } from "./place.js";
import { choose, order, SORTS } from "./query.js";
import { follow } from "./stream.js";
import { Toolbar } from "./toolbar.js";
import { Usage } from "./usage.js";
import { Workers } from "./workers.js";

const place = new Place();
const workers = new Workers();
const usage = new Usage();
let who = null;

const list = new List($("list"), usage.of, {
  open: (name) => place.go({ worker: name, host: false }),
  sort: (column) => place.go({ sort: other(column) }),
});
const toolbar = new Toolbar($("toolbar"), place);
const panel = new Panel($("worker"), workers, usage, () => who, {
  close: () => leave(),
  tab: (tab) => place.go({ tab }),
});
const host = new Host($("summary"), $("hostview"), workers, {
  open: () => place.go({ host: !place.now.host, worker: "", tab: "" }),
  close: () => leave(),
});

// --- what is shown ---------------------------------------------------------------------------------------------------

let frame = 0;

/** Chooses, orders and draws in the next frame, however much has changed until then. */
function refresh() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const all = [...workers.rows.values()];
    const rows = choose(all, place.now, (row) => workers.text(row), usage.of);
    list.show(rows, all, place.now.sort);
    toolbar.show(all, rows.length);
    list.say(loaded ? nothing(all, rows) : "");
    const failed = all.filter((row) => row.state === "failed").length;
    document.title = `${failed ? `${failed} failed · ` : ""}${place.now.worker ? `${place.now.worker} · ` : ""}rdagentd`;
  });
}

function nothing(all, rows) {
  if (!all.length) return "No workers yet. Begin with: rdagentctl submit -- COMMAND";
  return rows.length ? "" : "No worker is like that.";
}

/** The same column again turns the order round. */
function other(column) {
  const [now, down] = order(place.now.sort);
  if (now !== column) return column === "state" ? "" : column;
  return down === SORTS[column].down ? `-${column}` : column === "state" ? "" : column;
}

function arrive(now, before) {
  const opened = (now.worker && !before?.worker) || (now.host && !before?.host);
  document.body.classList.toggle("beside", Boolean(now.worker || now.host));
  panel.show(now.worker, now.tab);
  host.show(now.host);
  list.open = now.worker;
  if (now.worker && now.worker !== before?.worker) list.choose(now.worker);
  if (opened && matchMedia("(width < 800px)").matches) (now.host ? host : panel).focus();
  refresh();
}

/** Closes what is beside the list. */
function leave() {
  place.go({ worker: "", tab: "", host: false });
  $("list").focus({ preventScroll: true });
}

place.onChange(arrive);
workers.addEventListener("change", refresh);
usage.addEventListener("change", () => (/cpu|memory/.test(place.now.sort) ? refresh() : list.draw()));
setInterval(() => {
  if (document.hidden) return;
  list.draw();
  panel.tick();
}, 1000);

// --- what is told ----------------------------------------------------------------------------------------------------

let loaded = false;
const TAKES = {
  workers: (rows) => workers.replace(rows),
  worker: (row) => workers.put(row),
  gone: ({ name }) => workers.drop(name),
};

follow("live", {}, {
  event({ event, data }) {
    if (event === "workers") arrived();
    TAKES[event]?.(data);
  },
  trouble: (error) => banner(WORDS[error.code]?.(error) ?? `The list cannot be shown: ${error.message}.`),
});

/** The daemon is there (again): all rows come with it. */
function arrived() {
  loaded = true;
  banner("");
  introduce();
  usage.look();
  host.look();
}

const WORDS = {
  unreachable: () => "The gateway cannot be reached. What you see is as it was; it goes on by itself.",
  unavailable: () => "rdagentd does not answer. Its workers run on; what you see is as it was, and goes on by itself.",
};

function banner(text) {
  $("banner").hidden = !text;
  say($("banner"), text);
  document.body.classList.toggle("stale", Boolean(text));
  say($("link"), text ? "away" : "live");
}

/** Who we are to the daemon: decides on the buttons. */
async function introduce() {
  try {
    who = await get("../../whoami");
  } catch {
    who = null;
  }
  panel.introduced();
}

// --- hands -----------------------------------------------------------------------------------------------------------

function step(by) {
  const name = list.move(by);
  if (place.now.worker && name) place.go({ worker: name }, true);
}

keys(
  {
    "/": () => $("search").select(),
    "?": () => $("keys").showModal(),
    j: () => step(1),
    k: () => step(-1),
    Escape: leave,
  },
  {
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    PageDown: () => step(list.page),
    PageUp: () => step(-list.page),
    Home: () => step(-Infinity),
    End: () => step(Infinity),
    Enter: () => list.active && place.go({ worker: list.active, host: false }),
  },
);
$("search").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" && event.key !== "Escape" && event.key !== "ArrowDown") return;
  event.preventDefault();
  $("list").focus();
  if (event.key !== "Escape") list.move(list.active ? 0 : 1);
});
$("theme").addEventListener("click", () => globalThis.switchTheme());
$("help").addEventListener("click", () => $("keys").showModal());
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

arrive(place.now, null);
