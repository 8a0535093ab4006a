/** A node's own desired states, as they travel and as they are kept on disk: those of its kind, no others. */
import { DesiredState as DesiredStateMessage } from "../gen/baton/v1/node.ts";
import type { NodeKind } from "../node/status.ts";
import type { Decoded } from "./fields.ts";
import { type DesiredState, desiredStateFromProto, desiredStateToProto } from "./node-codec.ts";

export type DesiredStateOf<K extends NodeKind> = Extract<DesiredState, { readonly kind: K }>;

/** `encode` and `decode` make it the codec of a state file; `read` takes what a stream has decoded already. */
export interface DesiredStateCodec<K extends NodeKind> {
  readonly kind: K;
  encode(desired: DesiredStateOf<K>): Uint8Array;
  decode(bytes: Uint8Array): Decoded<DesiredStateOf<K>>;
  read(message: DesiredStateMessage): Decoded<DesiredStateOf<K>>;
}

export function desiredStateCodec<K extends NodeKind>(kind: K): DesiredStateCodec<K> {
  const read = (message: DesiredStateMessage): Decoded<DesiredStateOf<K>> => {
    const decoded = desiredStateFromProto(message);
    if (!decoded.ok) return decoded;
    if (decoded.value.kind !== kind)
      return {
        ok: false,
        message: `state: expected that of a node of kind ${kind}, found one for ${decoded.value.kind}`,
      };
    return { ok: true, value: decoded.value as DesiredStateOf<K> };
  };
  return {
    kind,
    encode: (desired) => DesiredStateMessage.encode(desiredStateToProto(desired)).finish(),
    decode(bytes) {
      try {
        return read(DesiredStateMessage.decode(bytes));
      } catch (error) {
        return { ok: false, message: `its bytes are no desired state: ${String(error)}` };
      }
    },
    read,
  };
}
