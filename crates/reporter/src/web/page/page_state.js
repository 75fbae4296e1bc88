// The state of the page in words. Pure: the caller gives times.

import { clock, whole } from "./format.js";

const behind = (pipeline) => Math.max(0, ...pipeline.steps.map((step) => step.behind));

// `stream` is "connecting", "open", "lost", or "refused" by a reporter that has too many clients; `lostMs` and `awayMs` say since when reporter and NATS are away.
export function pageState({ stream, lostMs, awayMs, pipeline, instrument, isUnknown }) {
  if (isUnknown) return { state: "bad", words: `No data of ${isUnknown}` };
  if (stream === "lost") {
    return { state: "bad", words: `Reporter does not answer · last known state, ${clock(lostMs)} UTC` };
  }
  if (stream === "refused") return { state: "bad", words: `No live events, trying again · state of ${clock(lostMs)} UTC` };
  if (stream === "connecting" || !pipeline) return { state: "wait", words: "Connecting…" };
  if (!pipeline.connected) return away(awayMs, instrument);
  return ofSource(pipeline);
}

function away(awayMs, instrument) {
  const words = instrument ? `NATS is unreachable · last known state, ${clock(awayMs)} UTC` : "Waiting for NATS";
  return { state: "bad", words };
}

function ofSource(pipeline) {
  if (pipeline.source === "replaying") return { state: "good", words: "Replaying a recording" };
  const messages = behind(pipeline);
  if (messages > 0) return { state: "warn", words: `Catching up: ${whole(messages)} messages` };
  switch (pipeline.source) {
    case "live":
      return { state: "good", words: "Live" };
    case "finished":
      return { state: "good", words: "Recording finished" };
    case "silent":
      return { state: "bad", words: `Live source silent${since(pipeline.newest_event_ms)}` };
    default:
      return { state: "wait", words: "No data yet" };
  }
}

const since = (ms) => (ms === undefined ? "" : ` since ${new Date(ms).toISOString().slice(0, 16).replace("T", " ")} UTC`);
