/** A fixed number of permits: who wants one while all are taken waits in line. */
import { abortable } from "../bus/abortable.ts";

export class Permits {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** Given back by disposing of it. Throws the abort reason. */
  async take(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    let isGivenBack = false;
    return {
      [Symbol.dispose]: () => {
        if (isGivenBack) return;
        isGivenBack = true;
        this.#giveBack();
      },
    };
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    try {
      await abortable(promise, signal);
    } catch (error) {
      const place = this.#waiting.indexOf(resolve);
      if (place >= 0) this.#waiting.splice(place, 1);
      // It was given in the same moment.
      else this.#giveBack();
      throw error;
    }
  }

  #giveBack(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}
