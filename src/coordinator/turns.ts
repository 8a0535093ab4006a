/** One after another: work that must not overlap waits for its turn, up to a limit. */
import { type Answer, reject } from "./ports.ts";

/** Requests that wait at once. */
const waitingMax = 256;

export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  async take<T>(work: () => Promise<Answer<T>>): Promise<Answer<T>> {
    if (this.#waiting >= waitingMax)
      return reject({ code: "LIMIT_EXCEEDED", message: `${waitingMax} requests are waiting already: retry later` });
    this.#waiting++;
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      this.#waiting--;
    }
  }
}
