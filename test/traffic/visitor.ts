/** Short HTTP connections, one after another, each from a new port: what new clients see. */
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { monotonicMs } from "./clock.ts";
import { HttpHead } from "./conversation.ts";
import { ports, type Visit } from "./protocol.ts";

const visitTimeoutMs = 10_000;
const mostVisits = 100_000;

export class Visitor {
  readonly visits: Visit[] = [];
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(to: string, everyMs: number) {
    this.#done = this.#run(to, everyMs);
  }

  async rest(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(to: string, everyMs: number): Promise<void> {
    const running = new Set<Promise<unknown>>();
    while (!this.#stop.signal.aborted && this.visits.length < mostVisits) {
      const one = visit(to).then((seen) => this.visits.push(seen));
      running.add(one);
      void one.finally(() => running.delete(one));
      await delay(everyMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
    await Promise.all(running);
  }
}

export function visit(to: string): Promise<Visit> {
  const atMs = monotonicMs();
  return new Promise((resolve) => {
    const head = new HttpHead();
    const socket = connect({ host: to, port: ports.http, timeout: visitTimeoutMs });
    let server: string | undefined;
    const finish = (failure: string | undefined) => {
      socket.destroy();
      const tookMs = monotonicMs() - atMs;
      if (server !== undefined && failure === undefined) resolve({ atMs, tookMs, server });
      else resolve({ atMs, tookMs, failure: failure ?? "ended without an answer" });
    };
    socket.on("connect", () => socket.write("GET /whoami HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n"));
    socket.on("data", (piece) => {
      if (head.complete) return;
      if (head.push(piece) !== undefined) server = head.field("x-server");
    });
    socket.on("end", () => finish(undefined));
    socket.on("timeout", () => finish("timeout"));
    socket.on("error", (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
  });
}
