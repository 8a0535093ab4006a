/**
 * Keeps the newest state on the disk: what could not be written is tried again until it is, or a newer one is.
 *
 * Owns the order of the writes, one at a time, and the knowledge that the disk is behind.
 */

export interface KeptStateOptions<State> {
  /** Rejects where the disk does not take it. */
  readonly write: (state: State) => Promise<void>;
  readonly onError: (error: unknown) => void;
  readonly retryMs?: number;
}

const retryDefaultMs = 5_000;

export class KeptState<State> implements Disposable {
  readonly #options: KeptStateOptions<State>;
  #unwritten: { readonly state: State } | undefined;
  #failed = false;
  #last: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #disposed = false;

  constructor(options: KeptStateOptions<State>) {
    this.#options = options;
  }

  /** The newest state could not be written: a reboot would bring back an older one. */
  get behind(): boolean {
    return this.#failed;
  }

  /** Resolves when it was tried; never rejects. */
  keep(state: State): Promise<void> {
    this.#unwritten = { state };
    return this.#write();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    clearTimeout(this.#timer);
  }

  #write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#last = this.#last.then(() => this.#writeNewest());
    return this.#last;
  }

  async #writeNewest(): Promise<void> {
    const newest = this.#unwritten;
    if (newest === undefined) return;
    try {
      await this.#options.write(newest.state);
      if (this.#unwritten === newest) this.#unwritten = undefined;
      this.#failed = false;
    } catch (error) {
      this.#failed = true;
      this.#options.onError(error);
      if (!this.#disposed)
        this.#timer = setTimeout(() => void this.#write(), this.#options.retryMs ?? retryDefaultMs).unref();
    }
  }
}
