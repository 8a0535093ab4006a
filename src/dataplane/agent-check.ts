/** What an agent refuses of a state, and why: decided before a byte of the kernel changes. */
import { type IpAddress, prefixContains } from "../flow/address.ts";
import type { AgentAddress, AgentState, ChannelKind, Link } from "../node/state.ts";
import type { BatonError } from "../remap/error.ts";

export interface AgentAbilities {
  /** Addresses that this host's own devices carry. */
  readonly addresses: ReadonlySet<IpAddress>;
  readonly channels: readonly ChannelKind[];
}

/** Undefined: nothing is wrong with it. */
export function checkAgentState(state: AgentState, abilities: AgentAbilities): BatonError | undefined {
  return checkFabric(state) ?? checkLinks(state, abilities) ?? checkAddresses(state, abilities);
}

function checkFabric(state: AgentState): BatonError | undefined {
  if (state.addresses.length + state.links.length === 0) return undefined;
  if (state.fabric.length === 0)
    return invalid("the fabric has no prefix: external traffic can't be told from internal");
  if (state.fabric.some((prefix) => prefixContains(prefix, state.probeSource)))
    return invalid(`the probe source ${state.probeSource} lies in the fabric`);
  return undefined;
}

function checkLinks(state: AgentState, abilities: AgentAbilities): BatonError | undefined {
  const ids = new Set<number>();
  for (const link of state.links) {
    if (ids.has(link.id)) return invalid(`link ${link.id} is there twice`);
    ids.add(link.id);
    const fault = checkLink(link, abilities);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function checkLink(link: Link, abilities: AgentAbilities): BatonError | undefined {
  if (!abilities.channels.includes(link.kind)) {
    const message = `this kernel can't do ${link.kind}; it can do ${abilities.channels.join(", ")}`;
    return { code: "CHANNEL_UNAVAILABLE", message };
  }
  if (!abilities.addresses.has(link.localPrivate)) return missing(link.localPrivate);
  if (link.kind === "direct" && link.peerLinkAddress === "") {
    const message = `the link-layer address of ${link.peer} is not known, and direct needs it to tell its packets from others'`;
    return { code: "CHANNEL_UNAVAILABLE", message };
  }
  return undefined;
}

function checkAddresses(state: AgentState, abilities: AgentAbilities): BatonError | undefined {
  const used = new Set<IpAddress>();
  for (const address of state.addresses) {
    if (used.has(address.private)) return invalid(`${address.private} is to serve two public addresses`);
    used.add(address.private);
    if (!abilities.addresses.has(address.private)) return missing(address.private);
    const fault = checkEgress(address, state.links);
    if (fault !== undefined) return fault;
    const stray = address.follows.find(
      (follow) => !state.links.some((link) => link.id === follow.link && !link.ownerEnd),
    );
    if (stray !== undefined)
      return invalid(
        `flows of ${stray.owner} are to be followed by link ${stray.link}, which this state does not have`,
      );
  }
  return undefined;
}

function checkEgress({ address, egress }: AgentAddress, links: readonly Link[]): BatonError | undefined {
  if (egress.kind === "normal") return undefined;
  const link = links.find(({ id, ownerEnd }) => id === egress.link && ownerEnd);
  if (link === undefined)
    return invalid(`${address} is to leave by link ${egress.link}, which this state does not have`);
  if (egress.kind === "armed" || egress.kind === link.returnPath) return undefined;
  return invalid(`${address} is to leave by ${egress.kind}, and link ${link.id} is for answers by ${link.returnPath}`);
}

function invalid(message: string): BatonError {
  return { code: "INVALID_ARGUMENT", message };
}

function missing(address: IpAddress): BatonError {
  const message = `no device of this host carries ${address}; give it to one, or take it out of privateAddresses`;
  return { code: "UNKNOWN_PRIVATE", message };
}
