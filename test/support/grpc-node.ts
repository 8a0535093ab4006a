/** A {@link FakeNode} that talks to real coordinators over gRPC, and applies whatever it is given at once. */

import { desiredStateCodec } from "../../src/rpc/desired-state.ts";
import { NodeClient } from "../../src/rpc/node-client.ts";
import type { DesiredState } from "../../src/rpc/node-codec.ts";
import type { FakeNode } from "./fake-node.ts";

export class GrpcNode implements AsyncDisposable {
  readonly node: FakeNode;
  readonly #client: NodeClient<"agent"> | NodeClient<"gateway">;
  readonly #end = new AbortController();
  readonly #running: Promise<void>;
  /** A state is judged by this before it is applied; what it returns is waited for. */
  gate: ((desired: DesiredState) => Promise<void>) | undefined;
  /** Coordinators that it has connected to, in order. */
  readonly endpoints: string[] = [];

  constructor(node: FakeNode, endpoints: readonly string[]) {
    this.node = node;
    const common = {
      endpoints,
      hello: () => node.hello(),
      onEvent: (event: { kind: string; endpoint: string }) => {
        if (event.kind === "connected") this.endpoints.push(event.endpoint);
      },
    };
    this.#client =
      node.kind === "agent"
        ? new NodeClient({ ...common, codec: desiredStateCodec("agent") })
        : new NodeClient({ ...common, codec: desiredStateCodec("gateway") });
    this.#running = this.#run();
  }

  report(): void {
    this.#client.report(this.node.status());
  }

  async #run(): Promise<void> {
    try {
      for await (const desired of this.#client.states(this.#end.signal)) {
        await this.gate?.(desired);
        this.node.apply(desired);
        this.report();
      }
    } catch (error) {
      if (!this.#end.signal.aborted) throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort(new Error("the test has ended"));
    await this.#running;
    await this.#client[Symbol.asyncDispose]();
  }
}
