/** A coordinator that does what a test tells it, and remembers what nodes have said. */
import type { NodeHello, NodeStatus } from "../../src/node/status.ts";
import type { DetailedError } from "../../src/rpc/errors.ts";
import type { DesiredState } from "../../src/rpc/node-codec.ts";
import { type NodeStream, nodeService } from "../../src/rpc/node-stream.ts";
import { type GrpcServer, serveGrpc } from "../../src/rpc/server.ts";
import { waitFor } from "../../src/runtime/retry.ts";

const waitMs = 10_000;

export class FakeCoordinator implements AsyncDisposable {
  readonly hellos: NodeHello[] = [];
  /** Of all streams, in order of arrival. */
  readonly statuses: NodeStatus[] = [];
  /** Answers every hello with this instead. */
  refusal: DetailedError | undefined;
  #stream: NodeStream | undefined;
  #server: GrpcServer | undefined;

  private constructor() {}

  static async open(endpoint: string): Promise<FakeCoordinator> {
    const self = new FakeCoordinator();
    const service = nodeService((hello, stream) => {
      self.hellos.push(hello);
      if (self.refusal !== undefined) return { kind: "refused", error: self.refusal };
      self.#stream = stream;
      const closed = (): void => {
        if (self.#stream === stream) self.#stream = undefined;
      };
      return { kind: "welcome", listener: { status: (status) => self.statuses.push(status), closed } };
    });
    self.#server = await serveGrpc({
      endpoints: [endpoint],
      services: [service],
      signal: new AbortController().signal,
    });
    return self;
  }

  get endpoint(): string {
    return this.#server?.endpoints[0] ?? "";
  }

  get connected(): boolean {
    return this.#stream !== undefined;
  }

  get last(): NodeStatus | undefined {
    return this.statuses.at(-1);
  }

  send(desired: DesiredState): void {
    if (this.#stream === undefined) throw new Error("no node is connected");
    this.#stream.send(desired);
  }

  /** Ends the node's stream, as a coordinator does that stops leading. */
  drop(error: DetailedError): void {
    this.#stream?.end(error);
    this.#stream = undefined;
  }

  /** The first status, of all that came, for which it holds. */
  async status(what: string, holds: (status: NodeStatus) => boolean): Promise<NodeStatus> {
    return await this.#until(what, () => this.statuses.find(holds));
  }

  async node(what = "a node's hello"): Promise<NodeHello> {
    return await this.#until(what, () => (this.connected ? this.hellos.at(-1) : undefined));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.drop({ code: "STORE_UNAVAILABLE", message: "the test is over" });
    await this.#server?.[Symbol.asyncDispose]();
  }

  async #until<T>(what: string, find: () => T | undefined): Promise<T> {
    const signal = AbortSignal.timeout(waitMs);
    return (await waitFor(find, { signal, timeoutMs: waitMs, what, intervalMs: 5 })) as T;
  }
}
