/** What one connection saw, written while it sees it. */
import type { ConnectionRecord, Kind, State } from "./protocol.ts";

export interface LedgerStart {
  readonly id: number;
  readonly group: string;
  readonly kind: Kind;
  /** Milliseconds between two messages when nothing is wrong. */
  readonly rhythmMs: number;
}

export class Ledger {
  readonly #start: LedgerStart;
  readonly #openedAtMs: number;
  #state: State = "connecting";
  #server = "";
  #localPort = 0;
  #messages = 0;
  #bytes = 0;
  #failure: string | undefined;
  #endedAtMs: number | undefined;
  /** Since when a message is awaited; undefined: none is. */
  #waitingSinceMs: number | undefined;
  #longestSilenceMs = 0;
  #silentFromMs = 0;

  constructor(start: LedgerStart, nowMs: number) {
    this.#start = start;
    this.#openedAtMs = nowMs;
  }

  get state(): State {
    return this.#state;
  }

  get ended(): boolean {
    return this.#state === "closed" || this.#state === "failed";
  }

  connected(localPort: number): void {
    this.#localPort = localPort;
  }

  /** A connection that was greeted by one server must never hear of another. */
  greeted(server: string): void {
    if (this.#server !== "" && this.#server !== server) throw new Error(`server: ${server} after ${this.#server}`);
    this.#server = server;
    if (this.#state === "connecting") this.#state = "open";
  }

  /** From now on the other side has something to say. */
  await(nowMs: number): void {
    this.#waitingSinceMs = nowMs;
  }

  /** Something right arrived. `more`: and more is to come. */
  heard(nowMs: number, bytes: number, more: boolean): void {
    this.#messages++;
    this.#bytes += bytes;
    this.#measure(nowMs);
    this.#waitingSinceMs = more ? nowMs : undefined;
  }

  closing(): void {
    if (!this.ended) this.#state = "closing";
  }

  /** The first reason stays. */
  end(nowMs: number, failure: string | undefined): void {
    if (this.ended) return;
    if (failure !== undefined) this.#measure(nowMs);
    this.#waitingSinceMs = undefined;
    this.#state = failure === undefined ? "closed" : "failed";
    this.#failure = failure;
    this.#endedAtMs = nowMs;
  }

  mark(): void {
    this.#longestSilenceMs = 0;
    this.#silentFromMs = 0;
  }

  /** Counts a silence that still lasts. */
  record(nowMs: number): ConnectionRecord {
    this.#measure(nowMs);
    const { id, group, kind } = this.#start;
    return {
      id,
      group,
      kind,
      localPort: this.#localPort,
      server: this.#server,
      state: this.#state,
      messages: this.#messages,
      bytes: this.#bytes,
      longestSilenceMs: Math.round(this.#longestSilenceMs * 10) / 10,
      silentFromMs: this.#silentFromMs,
      openedAtMs: this.#openedAtMs,
      ...(this.#endedAtMs === undefined ? {} : { endedAtMs: this.#endedAtMs }),
      ...(this.#failure === undefined ? {} : { failure: this.#failure }),
    };
  }

  #measure(nowMs: number): void {
    if (this.#waitingSinceMs === undefined) return;
    const silenceMs = nowMs - this.#waitingSinceMs - this.#start.rhythmMs;
    if (silenceMs <= this.#longestSilenceMs) return;
    this.#longestSilenceMs = silenceMs;
    this.#silentFromMs = this.#waitingSinceMs;
  }
}
