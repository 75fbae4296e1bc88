// Server-sent events of an instrument. The browser reconnects and names the last event that it had; where it gives up, this
// opens the stream again.

const NAMES = ["snapshot", "price", "candle", "open", "forecast", "score", "model", "hour", "pipeline"];
const AGAIN_MS_MIN = 1000;
const AGAIN_MS_MAX = 15_000;

export class LiveEvents {
  #handlers;
  #onStream;
  #source = null;
  #timer = null;
  #againMs = AGAIN_MS_MIN;

  // `handlers` has a function for each event that is used; `onStream` is told "open", "lost" or "refused".
  constructor(handlers, onStream) {
    this.#handlers = handlers;
    this.#onStream = onStream;
  }

  // Follows an instrument, or all of them without one.
  follow(instrument) {
    this.close();
    const query = instrument ? `?${new URLSearchParams({ coin: instrument.coin, quote: instrument.quote })}` : "";
    const source = new EventSource(`/api/v1/events${query}`);
    this.#source = source;
    source.onopen = () => {
      this.#againMs = AGAIN_MS_MIN;
      this.#onStream("open");
    };
    source.onerror = () => {
      const isRefused = source.readyState === EventSource.CLOSED;
      this.#onStream(isRefused ? "refused" : "lost");
      if (isRefused) this.#openAgain(instrument);
    };
    for (const name of NAMES.filter((name) => this.#handlers[name])) {
      // The stream itself has an event `open` too, without data.
      source.addEventListener(name, (event) => event.data !== undefined && this.#handlers[name](JSON.parse(event.data)));
    }
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  // The reporter refused the stream, as when it has too many clients.
  #openAgain(instrument) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.follow(instrument), this.#againMs);
    this.#againMs = Math.min(2 * this.#againMs, AGAIN_MS_MAX);
  }
}
