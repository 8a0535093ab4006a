/**
 * Calls to whichever coordinator leads: past dead ones, on to the leader that a follower names, and again once one was
 * elected. Owns a connection for each endpoint it has asked.
 */
import type { Client } from "@grpc/grpc-js";
import { sleep } from "../runtime/retry.ts";
import {
  type ClientConstructor,
  dial,
  type StreamMethodName,
  type StreamTypes,
  serverStream,
  type UnaryMethodName,
  type UnaryTypes,
  unary,
} from "./client.ts";
import { parseEndpoint } from "./endpoint.ts";
import { causeOf, fromServiceError, isUnreachable, type ReceivedError, silence, wasNeverSent } from "./errors.ts";
import { Route, type TryOutcome } from "./route.ts";

/** A call that was answered with a refusal, or that nobody answered. Translated once, by whoever shows it. */
export class CallFailed extends Error {
  readonly received: ReceivedError;
  /** Nobody who could do it was found. */
  readonly unreachable: boolean;

  constructor(received: ReceivedError, unreachable = false) {
    super(received.message);
    this.received = received;
    this.unreachable = unreachable;
  }
}

/** For one coordinator to answer one call. */
const callDeadlineMs = 5_000;
/** Before a stream that broke is asked for again. */
const resumeWaitMs = 250;

export class Failover implements Disposable {
  readonly #endpoints: readonly string[];
  readonly #clients = new Map<string, Client>();
  #preferred: string | undefined;

  /** Throws on an endpoint that is none. */
  constructor(endpoints: readonly string[]) {
    this.#endpoints = endpoints;
  }

  /**
   * `repeatable`: asking twice does no harm. Without it a call that may have been carried out is not made again, and the
   * caller learns that its outcome is unknown.
   */
  async call<C extends Client, Name extends UnaryMethodName<C>>(
    Constructor: ClientConstructor<C>,
    method: Name,
    request: UnaryTypes<C[Name]>[0],
    { signal, repeatable }: { readonly signal: AbortSignal; readonly repeatable: boolean },
  ): Promise<UnaryTypes<C[Name]>[1]> {
    return await this.#routed(signal, repeatable, (endpoint) =>
      unary(this.#client(Constructor, endpoint), method, request, { signal, deadlineMs: callDeadlineMs }),
    );
  }

  /** `resumable`: the stream begins with the present, so that after a loss it may simply be asked for again. */
  async *stream<C extends Client, Name extends StreamMethodName<C>>(
    Constructor: ClientConstructor<C>,
    method: Name,
    request: StreamTypes<C[Name]>[0],
    { signal, resumable }: { readonly signal: AbortSignal; readonly resumable: boolean },
  ): AsyncGenerator<StreamTypes<C[Name]>[1], void, undefined> {
    for (;;) {
      const { messages, first } = await this.#routed(signal, true, (endpoint) =>
        openStream(
          (bounded) => serverStream(this.#client(Constructor, endpoint), method, request, { signal: bounded }),
          signal,
        ),
      );
      try {
        if (first.done) return;
        yield first.value;
        yield* messages;
        return;
      } catch (error) {
        signal.throwIfAborted();
        const received = fromServiceError(error);
        if (!resumable || routable(received, this.#endpoints) === undefined)
          throw new CallFailed(received, isUnreachable(received));
      } finally {
        await messages.return();
      }
      await sleep(resumeWaitMs, signal);
    }
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  async #routed<T>(signal: AbortSignal, repeatable: boolean, attempt: (endpoint: string) => Promise<T>): Promise<T> {
    const startMs = performance.now();
    const route = new Route(this.#order());
    let endpoint = route.first();
    for (;;) {
      try {
        const answer = await attempt(endpoint);
        this.#preferred = endpoint;
        return answer;
      } catch (error) {
        signal.throwIfAborted();
        const received = fromServiceError(error);
        const outcome = routable(received, this.#endpoints);
        if (outcome === undefined) throw new CallFailed(received);
        if (!repeatable && isUnreachable(received) && !wasNeverSent(received))
          throw new CallFailed(uncertain(received), true);
        const next = route.after(endpoint, outcome, performance.now() - startMs);
        if (next.kind === "give-up") throw new CallFailed(nobody(received, next.reasons), true);
        endpoint = next.endpoint;
        await sleep(next.waitMs, signal);
      }
    }
  }

  #order(): readonly string[] {
    const preferred = this.#preferred;
    if (preferred === undefined) return this.#endpoints;
    return [preferred, ...this.#endpoints.filter((endpoint) => endpoint !== preferred)];
  }

  #client<C extends Client>(Constructor: ClientConstructor<C>, endpoint: string): C {
    const key = `${Constructor.serviceName} ${endpoint}`;
    const known = this.#clients.get(key);
    if (known !== undefined) return known as C;
    const client = dial(Constructor, endpoint);
    this.#clients.set(key, client);
    return client;
  }
}

/** A stream whose first message has come; that must not take longer than any call. */
async function openStream<T>(
  open: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>,
  signal: AbortSignal,
): Promise<{ messages: AsyncGenerator<T, void, undefined>; first: IteratorResult<T, void> }> {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(silence(callDeadlineMs)), callDeadlineMs);
  try {
    const messages = open(AbortSignal.any([signal, patience.signal]));
    return { messages, first: await messages.next() };
  } finally {
    clearTimeout(timer);
  }
}

/** What another coordinator might answer better; undefined: this is the answer. */
function routable(received: ReceivedError, endpoints: readonly string[]): TryOutcome | undefined {
  if (isUnreachable(received)) return { kind: "unreachable", cause: causeOf(received) };
  if (received.code !== "NOT_LEADER") return undefined;
  const leader = received.details["leader"];
  const named = leader === undefined ? undefined : parseEndpoint(leader);
  // A caller on unix sockets may not be on the cluster's network: whoever has that address here may be a stranger.
  const isForeign = named?.kind === "tcp" && endpoints.every((known) => parseEndpoint(known)?.kind === "unix");
  const follower = { kind: "not-leader", cause: received.message } as const;
  return named === undefined || isForeign ? follower : { ...follower, leader: named.text };
}

function uncertain(received: ReceivedError): ReceivedError {
  return {
    ...received,
    message: `no answer came, so whether it was done is unknown: look before trying again (${received.message})`,
  };
}

function nobody(received: ReceivedError, reasons: readonly string[]): ReceivedError {
  return { ...received, message: `no leading coordinator answered: ${reasons.join("; ")}` };
}
