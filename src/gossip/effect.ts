/** What the machine wants done, and how those who do it answer. */
import type { MemberAddress, MemberEvent, MemberName } from "./member.ts";
import type { PacketMessage, StreamMessage } from "./message.ts";

export type Effect =
  /** One UDP packet. `bytes`: of the messages alone, without the envelope. */
  | {
      readonly kind: "send";
      readonly to: MemberAddress;
      readonly messages: readonly PacketMessage[];
      readonly bytes: number;
    }
  /**
   * Connect by TCP, send `message`, and give what comes back to `dialAnswered`; if that returns a message, send it, close.
   * Whatever fails, or isn't done within `timeoutMs`: `dialFailed`. Exactly one of both is called, once.
   */
  | {
      readonly kind: "dial";
      readonly id: number;
      readonly to: MemberAddress;
      readonly message: StreamMessage;
      readonly timeoutMs: number;
    }
  | { readonly kind: "event"; readonly event: MemberEvent }
  /** Our `leave` has been told to as many as it will be; the process may end. */
  | { readonly kind: "departed" }
  | { readonly kind: "joined-cluster"; readonly through: MemberAddress; readonly name: MemberName | undefined };
