// The JSON API: one request, one answer, or a sentence that says why not.

const BASE = new URL("api/v1/", document.baseURI);
const PATIENCE = 15_000; // milliseconds

/** Seconds by which the host's clock is ahead of this one; told by each answer, to the second. */
let ahead = 0;

/** Seconds since the epoch by the host's clock. */
export const now = () => Date.now() / 1000 + ahead;

/** What went wrong. code: the API's, or `unreachable` (no answer). */
export class ApiError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Where an operation is; query: values, or lists of them; what is null is left out. */
export function address(op, query = {}) {
  const url = new URL(op, BASE);
  for (const [key, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined) url.searchParams.append(key, one);
    }
  }
  return url;
}

/** The answer as it comes, if it is one; raises ApiError. */
export async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("unreachable", "the gateway does not answer");
  }
  const date = Date.parse(response.headers.get("Date"));
  if (date) {
    const found = (date - Date.now()) / 1000;
    ahead = Math.abs(found) < 2 ? 0 : found;
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => null);
  throw new ApiError(told?.error?.code ?? "internal", told?.error?.message ?? `the gateway answers ${response.status} ${response.statusText}`);
}

/** An operation that only tells. */
export async function get(op, query) {
  return (await ask(address(op, query), { signal: AbortSignal.timeout(PATIENCE) })).json();
}

/** Any operation. */
export async function post(op, args) {
  const body = JSON.stringify(args);
  const headers = { "Content-Type": "application/json" };
  return (await ask(address(op), { method: "POST", headers, body, signal: AbortSignal.timeout(PATIENCE) })).json();
}
