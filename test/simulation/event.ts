/** What the simulator's heap holds. `boot` tells a process from the one that its node ran before. */
import type { MemberAddress } from "../../src/gossip/member.ts";
import type { PacketMessage, StreamMessage } from "../../src/gossip/message.ts";
import type { Dial } from "./dial.ts";
import type { Fault } from "./scenario.ts";

export type SimulationEvent =
  /** Scheduled for `dueMs`; void if the node has since asked for another moment. */
  | { readonly kind: "tick"; readonly node: number; readonly dueMs: number }
  | { readonly kind: "fault"; readonly fault: Fault }
  | { readonly kind: "load"; readonly node: number }
  | { readonly kind: "resume"; readonly node: number; readonly boot: number }
  | { readonly kind: "sample" }
  | Delivery;

/** What reaches a process through its sockets, and so waits while it is stopped. */
export type Delivery =
  | {
      readonly kind: "packet";
      readonly node: number;
      readonly from: MemberAddress;
      readonly messages: readonly PacketMessage[];
    }
  | { readonly kind: "stream"; readonly node: number; readonly dial: Dial; readonly message: StreamMessage }
  | { readonly kind: "answer"; readonly node: number; readonly dial: Dial; readonly message: StreamMessage }
  /** Refused, closed without an answer, or timed out. */
  | { readonly kind: "dial-failed"; readonly node: number; readonly dial: Dial };
