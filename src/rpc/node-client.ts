/**
 * A node's side of NodeService.Connect: one stream to the leading coordinator, for as long as the node lives.
 *
 * Owns the connection and nothing of what the node has: a lost stream loses neither the state that the node holds nor
 * the status that it reported, which is sent whole as soon as there is a stream again. Of several states that wait to
 * be applied only the newest is handed out; of several statuses within one turn of the event loop only the last is
 * sent. A state that can't be read is answered with a fault, until one comes that can.
 */
import { type ChannelInterface, type ClientDuplexStream, connectivityState } from "@grpc/grpc-js";
import {
  type DesiredState as DesiredStateMessage,
  type NodeDirective,
  type NodeReport,
  NodeServiceClient,
} from "../gen/baton/v1/node.ts";
import type { NodeFault, NodeHello, NodeKind, NodeStatus } from "../node/status.ts";
import { sleep } from "../runtime/retry.ts";
import { dial } from "./client.ts";
import type { DesiredStateCodec, DesiredStateOf } from "./desired-state.ts";
import { parseEndpoint } from "./endpoint.ts";
import { type ConnectionEnd, EndpointChoice } from "./endpoint-choice.ts";
import { fromServiceError } from "./errors.ts";
import { fenceFromProto } from "./node-codec.ts";
import { helloToProto, statusToProto } from "./report-codec.ts";

export interface NodeClientOptions<K extends NodeKind> {
  /** Coordinators, "host:port" or "unix:PATH". */
  readonly endpoints: readonly string[];
  readonly codec: DesiredStateCodec<K>;
  /** Asked for whenever a stream begins: what the node is at that moment. */
  readonly hello: () => NodeHello;
  /** What happens to the connection, for the log. */
  readonly onEvent: (event: NodeClientEvent) => void;
  /** 0 to 1, below 1. */
  readonly random?: () => number;
}

export type NodeClientEvent =
  | { readonly kind: "connected"; readonly endpoint: string }
  | { readonly kind: "not-leader"; readonly endpoint: string; readonly leader: string | undefined }
  | { readonly kind: "lost"; readonly endpoint: string; readonly message: string }
  | { readonly kind: "unreadable-state"; readonly endpoint: string; readonly message: string };

/** For a connection to be made; a host that is gone answers nothing at all. */
const connectTimeoutMs = 3_000;

type Stream = ClientDuplexStream<NodeReport, NodeDirective>;

export class NodeClient<K extends NodeKind> implements AsyncDisposable {
  readonly #options: NodeClientOptions<K>;
  readonly #choice: EndpointChoice;
  readonly #end = new AbortController();
  readonly #running: Promise<void>;
  #stream: Stream | undefined;
  #endpoint: string | undefined;
  /** The stream takes no more for now; what is newest goes when it does. */
  #congested = false;
  #flushing = false;
  #status: NodeStatus | undefined;
  #unreadable: NodeFault | undefined;
  #waiting: DesiredStateOf<K> | undefined;
  #wake: (() => void) | undefined;

  /** Begins to connect at once. */
  constructor(options: NodeClientOptions<K>) {
    this.#options = options;
    this.#choice = new EndpointChoice(options.endpoints, options.random ?? Math.random);
    this.#running = this.#run(this.#end.signal);
  }

  /** Of the coordinator that has welcomed the node; undefined: none. */
  get endpoint(): string | undefined {
    return this.#endpoint;
  }

  /** What the node is now, whole. Sent at the end of this turn of the event loop, and again after every reconnect. */
  report(status: NodeStatus): void {
    this.#status = status;
    this.#scheduleFlush();
  }

  /** States to apply, in order; while one is being applied, newer ones replace each other. For one consumer. */
  async *states(signal: AbortSignal): AsyncGenerator<DesiredStateOf<K>, void, undefined> {
    for (;;) {
      signal.throwIfAborted();
      const next = this.#waiting;
      if (next === undefined) {
        await this.#arrival(signal);
        continue;
      }
      this.#waiting = undefined;
      yield next;
    }
  }

  /** Ends the stream. The coordinator sees the node go; what the node holds stays as it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    let next = this.#choice.first();
    while (!signal.aborted) {
      try {
        await sleep(next.waitMs, signal);
      } catch {
        return;
      }
      next = this.#choice.after(await this.#session(next.endpoint, signal));
    }
  }

  async #session(endpoint: string, signal: AbortSignal): Promise<ConnectionEnd> {
    const client = dial(NodeServiceClient, endpoint);
    try {
      const failure = await connected(client, signal);
      if (failure !== undefined) return this.#lost(endpoint, failure.message, false);
      return await this.#converse(client.connect(), endpoint, signal);
    } finally {
      client.close();
    }
  }

  async #converse(stream: Stream, endpoint: string, signal: AbortSignal): Promise<ConnectionEnd> {
    const cancel = (): void => stream.cancel();
    signal.addEventListener("abort", cancel, { once: true });
    if (signal.aborted) cancel();
    const { promise: ended, resolve } = Promise.withResolvers<unknown>();
    let served = false;
    stream.on("data", (message) => {
      served = true;
      if (this.#stream !== stream) return;
      if (message.directive?.$case === "state") this.#receive(message.directive.value, endpoint);
    });
    stream.on("drain", () => {
      this.#congested = false;
      this.#flush();
    });
    stream.once("error", resolve);
    stream.once("end", () => resolve(undefined));

    stream.once("metadata", () => {
      if (this.#stream !== stream) return;
      this.#endpoint = endpoint;
      this.#options.onEvent({ kind: "connected", endpoint });
    });

    this.#stream = stream;
    this.#congested = !stream.write({ report: { $case: "hello", value: helloToProto(this.#options.hello()) } });
    this.#flush();
    const error = await ended;
    this.#stream = undefined;
    this.#endpoint = undefined;
    signal.removeEventListener("abort", cancel);
    // An ended stream may still report an error; without a listener that would end the process.
    stream.on("error", () => undefined);
    stream.cancel();
    return this.#whyEnded(error, endpoint, served);
  }

  #whyEnded(error: unknown, endpoint: string, served: boolean): ConnectionEnd {
    if (error === undefined) return this.#lost(endpoint, "the coordinator ended the stream", served);
    const received = fromServiceError(error);
    if (received.code !== "NOT_LEADER") return this.#lost(endpoint, received.message, served);
    const hint = received.details.leader;
    const leader = hint === undefined || parseEndpoint(hint) === undefined ? undefined : hint;
    this.#options.onEvent({ kind: "not-leader", endpoint, leader });
    return { kind: "not-leader", leader };
  }

  #lost(endpoint: string, message: string, served: boolean): ConnectionEnd {
    if (!this.#end.signal.aborted) this.#options.onEvent({ kind: "lost", endpoint, message });
    return { kind: "lost", served };
  }

  #receive(message: DesiredStateMessage, endpoint: string): void {
    const decoded = this.#options.codec.read(message);
    if (decoded.ok) {
      this.#waiting = decoded.value;
      this.#wake?.();
      if (this.#unreadable === undefined) return;
      this.#unreadable = undefined;
    } else {
      const fence = message.fence === undefined ? undefined : fenceFromProto(message.fence);
      const text = `the state can't be read: ${decoded.message}`;
      this.#unreadable = { code: "INVALID_ARGUMENT", message: text, ...(fence?.ok === true && { fence: fence.value }) };
      this.#options.onEvent({ kind: "unreadable-state", endpoint, message: decoded.message });
    }
    this.#scheduleFlush();
  }

  #scheduleFlush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#stream === undefined || this.#congested || this.#status === undefined) return;
    const { faults } = this.#status;
    const status =
      this.#unreadable === undefined ? this.#status : { ...this.#status, faults: [...faults, this.#unreadable] };
    this.#congested = !this.#stream.write({ report: { $case: "status", value: statusToProto(status) } });
  }

  async #arrival(signal: AbortSignal): Promise<void> {
    if (this.#wake !== undefined) throw new Error("a node's states have one consumer, and it is waiting already");
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const abort = (): void => resolve();
    signal.addEventListener("abort", abort, { once: true });
    await promise;
    signal.removeEventListener("abort", abort);
    this.#wake = undefined;
  }
}

/** Undefined once there is a connection; else why there is none. */
async function connected(client: NodeServiceClient, signal: AbortSignal): Promise<Error | undefined> {
  const channel = client.getChannel();
  const deadlineMs = Date.now() + connectTimeoutMs;
  for (;;) {
    const state = channel.getConnectivityState(true);
    if (state === connectivityState.READY) return undefined;
    if (state === connectivityState.TRANSIENT_FAILURE) return new Error("nobody answers there");
    if (signal.aborted || !(await stateChanged(channel, state, deadlineMs, signal)))
      return new Error(`no connection within ${connectTimeoutMs} ms`);
  }
}

function stateChanged(
  channel: ChannelInterface,
  from: connectivityState,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const abort = (): void => resolve(false);
  signal.addEventListener("abort", abort, { once: true });
  channel.watchConnectivityState(from, deadlineMs, (error) => resolve(error === undefined || error === null));
  return promise.finally(() => signal.removeEventListener("abort", abort));
}
