/**
 * The coordinator's end of NodeService.Connect: a stream becomes a hello, then statuses, with states going the other
 * way. What can't be read ends the stream, and the node comes again.
 */
import { Metadata, type ServerDuplexStream } from "@grpc/grpc-js";
import { type NodeDirective, type NodeReport, NodeServiceService } from "../gen/baton/v1/node.ts";
import type { NodeHello, NodeStatus } from "../node/status.ts";
import { type DetailedError, toServiceError } from "./errors.ts";
import { type DesiredState, desiredStateToProto } from "./node-codec.ts";
import { helloFromProto, statusFromProto } from "./report-codec.ts";
import type { Service } from "./server.ts";

/** Towards the node. */
export interface NodeStream {
  send(desired: DesiredState): void;
  /** Refuses the node, or sends it elsewhere: NOT_LEADER with the detail `leader`. */
  end(error: DetailedError): void;
}

/** From the node. */
export interface NodeListener {
  status(status: NodeStatus): void;
  /** The stream has ended, whoever ended it. Called once. */
  closed(): void;
}

export type Greeting =
  | { readonly kind: "welcome"; readonly listener: NodeListener }
  | { readonly kind: "refused"; readonly error: DetailedError };

export type Greet = (hello: NodeHello, stream: NodeStream) => Greeting;

export function nodeService(greet: Greet): Service {
  return [NodeServiceService, { connect: (call: Call) => serve(call, greet) }];
}

type Call = ServerDuplexStream<NodeReport, NodeDirective>;

/**
 * A state says everything, so of those that a node has not room for only the newest is kept: a node that stands still
 * costs what the stream buffers, and one state.
 */
function newestOnly(call: Pick<Call, "write" | "on" | "writableNeedDrain">): Pick<NodeStream, "send"> {
  let next: DesiredState | undefined;
  const send = (desired: DesiredState): void => {
    if (call.writableNeedDrain) next = desired;
    else call.write({ directive: { $case: "state", value: desiredStateToProto(desired) } });
  };
  call.on("drain", () => {
    const waiting = next;
    next = undefined;
    if (waiting !== undefined) send(waiting);
  });
  return { send };
}

function serve(call: Call, greet: Greet): void {
  let listener: NodeListener | undefined;
  let ended = false;
  const states = newestOnly(call);
  const close = (): void => {
    ended = true;
    listener?.closed();
    listener = undefined;
  };
  const stream: NodeStream = {
    send(desired) {
      if (!ended) states.send(desired);
    },
    end(error) {
      if (ended) return;
      close();
      call.emit("error", toServiceError(error));
    },
  };
  const refuse = (message: string): void => stream.end({ code: "INVALID_ARGUMENT", message });
  call.on("data", ({ report }) => {
    if (ended || report === undefined) return;
    if (report.$case === "status") {
      const status = statusFromProto(report.value);
      if (!status.ok) return refuse(status.message);
      if (listener === undefined) return refuse("a node sends its hello first");
      return listener.status(status.value);
    }
    const hello = helloFromProto(report.value);
    if (!hello.ok) return refuse(hello.message);
    if (listener !== undefined) return refuse("a node sends one hello");
    const greeting = greet(hello.value, stream);
    if (greeting.kind === "refused") return stream.end(greeting.error);
    listener = greeting.listener;
    // The node learns now that it is welcome, though there may be no order for it for a long time.
    call.sendMetadata(new Metadata());
  });
  call.once("cancelled", close);
  call.once("error", close);
  call.once("end", () => {
    close();
    call.end();
  });
}
