// Buttons of a worker: asked first where something is lost, told afterwards.

import { post } from "./api.js";
import { $, h } from "./dom.js";
import { ACTIONS, possible } from "./states.js";

const TOLD_FOR = 6000; // milliseconds; errors stay until they are closed

/** The buttons that make sense for a worker; who: the answer of `whoami`. */
export class Actions {
  #row = null;
  #shown = "";

  constructor(who) {
    this.who = who;
    this.element = h("div", { class: "actions", role: "group", "aria-label": "Actions" });
  }

  show(row) {
    this.#row = row;
    const ops = row ? possible(row, this.who()) : [];
    this.element.classList.toggle("none", !ops.length && this.who() !== null); // until then their place is kept
    if (ops.join() === this.#shown) return;
    this.#shown = ops.join();
    const hadFocus = this.element.contains(document.activeElement);
    this.element.replaceChildren(...ops.map((op) => this.#button(op)));
    if (hadFocus) (this.element.firstChild ?? $("list")).focus();
  }

  #button(op) {
    const { label, danger } = ACTIONS[op];
    return h("button", { type: "button", class: danger ? "danger" : "", "data-op": op, onclick: () => this.#press(op) }, label);
  }

  async #press(op) {
    const { name } = this.#row;
    const { asks, label, danger } = ACTIONS[op];
    if (asks && !(await confirm(`${label} ${name}?`, asks, label, danger))) return;
    const button = this.element.querySelector(`[data-op=${op}]`);
    if (button) button.disabled = true;
    try {
      const { workers } = await post(op, { select: { names: [name] } });
      for (const told of workers) tell(...sentence(op, told));
    } catch (error) {
      tell(error.message, true);
    } finally {
      if (button) button.disabled = false;
    }
  }
}

/** What came of it: [text, whether it is an error]. */
function sentence(op, told) {
  if (told.error) return [told.error.message, true];
  const why = told.reason ? `: ${told.reason.text}` : "";
  return [told.changed ? `${told.name} is ${told.state}${why}` : `${told.name} is ${told.state} already; nothing to ${op}`, false];
}

/** Asks; resolves to whether it is meant. */
function confirm(title, text, yes, danger) {
  const dialog = $("confirm");
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector("p").textContent = text;
  const button = dialog.querySelector("[value=yes]");
  button.textContent = yes;
  button.classList.toggle("danger", Boolean(danger));
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Tells what came of something, at the edge of the page. */
export function tell(text, isError = false) {
  const note = h("div", { class: `toast${isError ? " error" : ""}` }, h("span", {}, text));
  const close = () => note.remove();
  note.append(h("button", { type: "button", class: "plain", "aria-label": "Close", onclick: close }, "×"));
  $(isError ? "errors" : "notes").append(note);
  if (!isError) setTimeout(close, TOLD_FOR);
}
