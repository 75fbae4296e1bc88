// The reporter's clock, as far as answers tell it: ages are wrong by as much as the clock of this machine otherwise.

const TOLERATED_MS = 5000;
let offsetMs = 0;

export const now = () => Date.now() + offsetMs;

// Takes the header `Date` of an answer, which has whole seconds.
export function setClock(date) {
  const difference = Date.parse(date) - Date.now();
  if (Number.isFinite(difference)) offsetMs = Math.abs(difference) > TOLERATED_MS ? difference : 0;
}
