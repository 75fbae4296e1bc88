// Questions to the reporter.

import { setClock } from "./clock.js";

// A history of many candles takes longest.
const ANSWER_MS_MAX = 15_000;

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Asks `/api/v1/NAME`. Parameters that are undefined are left out.
export function ask(name, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined));
  return askPath(`/api/v1/${name}?${query}`);
}

export async function askPath(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
  setClock(answer.headers.get("date"));
  if (!answer.ok) throw new ApiError(answer.status, await reason(answer));
  return answer.json();
}

async function reason(answer) {
  try {
    return (await answer.json()).error.message;
  } catch {
    return `the reporter answered ${answer.status}`;
  }
}
