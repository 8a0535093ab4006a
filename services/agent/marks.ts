/** Publishes what a state asks to be published, once for each request, and remembers where that stands. */
import type { MarkRequest } from "../../src/node/state.ts";
import type { MarkReport } from "../../src/node/status.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { retry } from "../../src/runtime/retry.ts";

export interface MarksParts {
  publish(request: MarkRequest): Promise<MarkReport>;
  readonly onPublished: () => void;
  readonly log: Logger;
}

const retryInitialMs = 100;
const retryMaxMs = 2_000;

interface Mark {
  readonly stop: AbortController;
  report?: MarkReport;
}

export class Marks implements Disposable {
  readonly #parts: MarksParts;
  readonly #marks = new Map<string, Mark>();

  constructor(parts: MarksParts) {
    this.#parts = parts;
  }

  sync(requests: readonly MarkRequest[]): void {
    for (const [id, mark] of this.#marks) {
      if (requests.some((request) => request.id === id)) continue;
      mark.stop.abort();
      this.#marks.delete(id);
    }
    for (const request of requests) if (!this.#marks.has(request.id)) this.#begin(request);
  }

  reports(): MarkReport[] {
    return [...this.#marks.values()].flatMap((mark) => mark.report ?? []);
  }

  [Symbol.dispose](): void {
    for (const mark of this.#marks.values()) mark.stop.abort();
  }

  #begin(request: MarkRequest): void {
    const mark: Mark = { stop: new AbortController() };
    this.#marks.set(request.id, mark);
    const { signal } = mark.stop;
    const onError = (error: unknown) => this.#parts.log.warn({ error, mark: request.id }, "not published yet");
    retry(() => this.#parts.publish(request), { signal, initialMs: retryInitialMs, maxMs: retryMaxMs, onError }).then(
      (report) => {
        if (signal.aborted) return;
        mark.report = report;
        this.#parts.onPublished();
      },
      () => undefined,
    );
  }
}
