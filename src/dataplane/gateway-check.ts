/** What a gateway refuses or leaves out of a state, and why: decided before a byte of the kernel changes. */
import { familyOf, formatPrefix, type IpAddress, prefixContains } from "../flow/address.ts";
import type { GatewayState } from "../node/state.ts";
import type { NodeFault } from "../node/status.ts";
import type { BatonError } from "../remap/error.ts";
import { mappingsMax, retiringMax } from "./gateway-ruleset.ts";
import { checkProofRequest } from "./proof.ts";

/** Proofs that may be under way at a time. */
export const proofsMax = 256;
const prefixesMax = 256;

export interface GatewayCheck {
  /** The state contradicts itself or is too large: nothing of it is applied. */
  readonly refusal?: BatonError;
  /** What is left out while the rest is applied. */
  readonly faults: readonly NodeFault[];
}

export function checkGatewayState(state: GatewayState): GatewayCheck {
  const refusal = overLimit(state) ?? contradiction(state);
  return refusal === undefined ? { faults: faultsOf(state) } : { refusal, faults: [] };
}

function overLimit(state: GatewayState): BatonError | undefined {
  const bounds = [
    ["mappings and accepts", state.mappings.length + state.accepts.length, mappingsMax],
    ["retiring accepts", state.accepts.filter(({ retiring }) => retiring).length, retiringMax],
    ["proofs", state.proofs.length, proofsMax],
    ["prefixes", state.fabric.length + state.publicPrefixes.length, prefixesMax],
  ] as const;
  const over = bounds.find(([, count, max]) => count > max);
  if (over === undefined) return undefined;
  return { code: "LIMIT_EXCEEDED", message: `${over[1]} ${over[0]}; a gateway takes ${over[2]}` };
}

function contradiction(state: GatewayState): BatonError | undefined {
  const seen = new Set<IpAddress>();
  const publicOf = new Map<IpAddress, IpAddress>();
  for (const { address } of state.mappings) {
    if (seen.has(address)) return invalid(`${address} is mapped twice`);
    seen.add(address);
  }
  for (const entry of [...state.mappings, ...state.accepts]) {
    const known = publicOf.get(entry.private);
    if (known !== undefined && known !== entry.address)
      return invalid(`${entry.private} would be translated to ${known} and to ${entry.address}`);
    if (familyOf(entry.private) !== familyOf(entry.address))
      return invalid(`${entry.address} and ${entry.private} are of two families`);
    publicOf.set(entry.private, entry.address);
  }
  const inside = [...state.fabric, ...state.publicPrefixes].find((prefix) => prefixContains(prefix, state.probeSource));
  if (inside !== undefined) return invalid(`the probe source ${state.probeSource} lies in ${formatPrefix(inside)}`);
  return undefined;
}

function faultsOf(state: GatewayState): readonly NodeFault[] {
  const faults: NodeFault[] = [];
  for (const address of new Set([...state.mappings, ...state.accepts].map((entry) => entry.address))) {
    if (familyOf(address) === 6)
      faults.push({ code: "UNSUPPORTED", message: `${address}: this gateway translates IPv4 only`, address });
  }
  for (const request of state.proofs) {
    const fault = familyOf(request.targetPrivate) === 6 ? "proofs are sent over IPv4 only" : checkProofRequest(request);
    if (fault !== undefined) faults.push({ code: "UNSUPPORTED", message: `proof ${request.id}: ${fault}` });
  }
  return faults;
}

function invalid(message: string): BatonError {
  return { code: "INVALID_ARGUMENT", message };
}
