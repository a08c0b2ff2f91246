// Server-sent events that come back by themselves. A page that nobody looks at holds no connection: browsers allow few.

import { ApiError, address, ask } from "./api.js";

const FIRST_PAUSE = 500; // milliseconds before it is tried again; doubles
const LONGEST_PAUSE = 5000;
const SILENCE = 45_000; // the gateway says something more often than that

/** Follows a stream until `close()`; a new connection goes on where the last one ended, by Last-Event-ID.
 *
 * on.event({event, id, data}); on.open();
 * on.trouble(ApiError); on.end(): the stream has told all.
 */
export function follow(op, query, on) {
  const stream = new Stream(op, query, on);
  stream.connect();
  return stream;
}

class Stream {
  #op;
  #query;
  #on;
  #controller = null;
  #timer = 0;
  #pause = FIRST_PAUSE;
  #over = false;
  #last = "";
  #seen = () => (document.hidden ? this.#drop() : this.connect());

  constructor(op, query, on) {
    this.#op = op;
    this.#query = query;
    this.#on = on;
    document.addEventListener("visibilitychange", this.#seen);
  }

  async connect() {
    if (this.#over || this.#controller || document.hidden) return;
    clearTimeout(this.#timer);
    const controller = (this.#controller = new AbortController());
    try {
      await this.#read(controller);
    } catch (error) {
      if (this.#controller !== controller) return; // dropped on purpose
      const lost = new ApiError("unreachable", "the connection to the gateway was lost");
      this.#on.trouble?.(error instanceof ApiError ? error : lost);
    }
    if (this.#controller !== controller) return;
    this.#controller = null;
    if (this.#over) return;
    this.#timer = setTimeout(() => this.connect(), this.#pause);
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
  }

  close() {
    this.#over = true;
    document.removeEventListener("visibilitychange", this.#seen);
    this.#drop();
  }

  #drop() {
    clearTimeout(this.#timer);
    const controller = this.#controller;
    this.#controller = null;
    controller?.abort();
  }

  async #read(controller) {
    let watchdog = setTimeout(() => controller.abort(), SILENCE);
    const headers = { Accept: "text/event-stream", ...(this.#last && { "Last-Event-ID": this.#last }) };
    try {
      const response = await ask(address(this.#op, this.#query), { signal: controller.signal, headers });
      this.#on.open?.();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parse = parser((message) => this.#take(message));
      for (;;) {
        const { value, done } = await reader.read();
        if (done || this.#controller !== controller) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => controller.abort(), SILENCE);
        this.#pause = FIRST_PAUSE;
        parse(value);
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  #take(message) {
    if (this.#over) return;
    this.#last = message.id;
    if (message.event === "end") {
      this.close();
      this.#on.end?.();
    } else if (message.event === "away" || message.event === "failed") {
      this.#on.trouble?.(JSON.parse(message.data).error);
    } else {
      this.#on.event({ ...message, data: JSON.parse(message.data) });
    }
  }
}

/** A function that takes pieces of text/event-stream (HTML Living Standard, 9.2.6) and tells each whole event. */
export function parser(tell) {
  let rest = "";
  let event = "message";
  let id = "";
  let data = [];
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) tell({ event, id, data: data.join("\n") });
        event = "message";
        data = [];
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue; // a comment, by which the gateway says that it is there
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
      if (field === "data") data.push(value);
      else if (field === "event") event = value;
      else if (field === "id") id = value;
    }
  };
}
