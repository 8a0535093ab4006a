/**
 * Brings this host's kernel into a desired state, and out of it again.
 *
 * Order (make before break): what packets need on their way comes first, then the rules that send them there, in one
 * transaction with the fence; what only the old rules needed goes last. Every step may be repeated, and a crash between
 * two of them is mended by the next apply.
 */
import { noObjects, renderAgentRuleset, type TableObjects } from "../../src/dataplane/agent-ruleset.ts";
import { gateTableName, removeGate } from "../../src/dataplane/boot-gate.ts";
import { removeFence, renderFence } from "../../src/dataplane/fence-table.ts";
import type { HostedPort } from "../../src/dataplane/hosted-rules.ts";
import { connectionMark, type MarkLayout } from "../../src/dataplane/mark.ts";
import { setName, tableName } from "../../src/dataplane/names.ts";
import { type Routing, renderRouting } from "../../src/dataplane/routing.ts";
import type { AgentHost } from "../../src/dataplane/rule-scope.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import { dumpConntrack, openConntrack, setConntrackMark } from "../../src/kernel/conntrack.ts";
import { hasTable, readFence, standsUnder } from "../../src/kernel/fence-table.ts";
import { listDevices, type NetworkDevice } from "../../src/kernel/link.ts";
import type { NetlinkSocket } from "../../src/kernel/netlink.ts";
import { Nftables } from "../../src/kernel/nftables.ts";
import { openRouteSocket } from "../../src/kernel/rtnetlink.ts";
import { readSysctl, SavedSysctls } from "../../src/kernel/sysctl.ts";
import type { Fence } from "../../src/node/fence.ts";
import type { AgentState, ChannelKind, LinkId } from "../../src/node/state.ts";
import { addRouting, canVxlan, channelDevicePattern, removeRouting } from "./routing-kernel.ts";

export interface KernelStateOptions {
  readonly marks: MarkLayout;
  readonly trackExternalOnly: boolean;
  readonly hostedPorts: readonly HostedPort[];
  readonly sysctlFile: string;
  onSysctlsLost(message: string): void;
}

/** Without it, connections that were opened while no agent listened would never give an event. */
const alwaysSysctls = [{ path: "net/netfilter/nf_conntrack_events", value: "1" }];

export class KernelState implements Disposable {
  readonly #options: KernelStateOptions;
  readonly #resources = new DisposableStack();
  readonly #nftables: Nftables;
  readonly #routes: NetlinkSocket;
  readonly #conntrack: NetlinkSocket;
  readonly #sysctls: SavedSysctls;
  #objects: TableObjects;
  #routing: string | undefined;
  #gated: boolean;
  /** With which the rules were written last. */
  #written: Fence | undefined;
  /** Sets that were there before this process, as far as they still are. */
  #inherited: ReadonlySet<string>;

  constructor(options: KernelStateOptions) {
    this.#options = options;
    this.#nftables = this.#resources.use(new Nftables());
    this.#routes = this.#resources.use(openRouteSocket());
    this.#conntrack = this.#resources.use(openConntrack());
    this.#sysctls = new SavedSysctls(options.sysctlFile, options.onSysctlsLost);
    this.#objects = this.#listObjects();
    this.#inherited = new Set(this.#objects.sets);
    this.#gated = hasTable(this.#nftables, gateTableName);
    this.#written = this.fence;
  }

  get marks(): MarkLayout {
    return this.#options.marks;
  }

  /** What is followed by this link was written, in part, by an earlier run of the agent. */
  hasInherited(link: LinkId): boolean {
    return this.#inherited.has(setName.ofLink("follow", link));
  }

  /** The fence that stands in the kernel now; nothing where baton's tables are not there. */
  get fence(): Fence | undefined {
    return readFence(this.#nftables);
  }

  /** What was written last is in the kernel. */
  stands(): boolean {
    return standsUnder(this.#nftables, this.#written);
  }

  /** Looks anew at what there is, for it is not what was written. */
  reread(): void {
    this.#objects = this.#listObjects();
    this.#written = this.fence;
  }

  /** Devices of the host, without baton's own. */
  devices(): readonly NetworkDevice[] {
    return listDevices(this.#routes).filter((device) => !channelDevicePattern.test(device.name));
  }

  /** What this kernel can do, found by trying. */
  channels(): readonly ChannelKind[] {
    return canVxlan(this.#routes) ? ["direct", "vxlan"] : ["direct"];
  }

  /** Starts connection tracking where baton has no table yet; rules that are there, a gate too, are not touched. */
  begin(): void {
    if (this.#objects.chains.length === 0) this.#writeEmpty();
    this.#sysctls.add(alwaysSysctls);
  }

  #writeEmpty(): void {
    const empty = { fabric: [], probeSource: "0.0.0.0" as IpAddress, addresses: [], links: [], marks: [] };
    this.#write(empty, this.#host([]), "");
  }

  /** Opens the gate of the boot: this host passes nothing on, and may refuse what it does not know. */
  openGate(): void {
    if (this.#gated) this.run(removeGate);
    this.#gated = false;
  }

  /** @throws KernelError, or Error with nft's words; what was done by then is repeated by the next apply */
  apply(state: AgentState, fence: Fence): void {
    const routing = renderRouting(state, { marks: this.#options.marks, deviceOf: this.#deviceOf() });
    this.#prepare(routing);
    this.#write(state, this.#host(this.#guarded(routing)), `${renderFence(fence)}${this.#gated ? removeGate : ""}`);
    this.#gated = false;
    this.#written = fence;
    if (JSON.stringify(routing) !== this.#routing) this.#finish(routing);
    this.#markOpening(state);
  }

  /** Runs a transaction on baton's sets. @throws Error with nft's words */
  run(commands: string): void {
    const outcome = this.#nftables.run(commands);
    if (!outcome.ok) throw new Error(`nftables refused: ${outcome.message}`);
  }

  /** Packets and bytes of baton's counters, by name. */
  counters(): ReadonlyMap<string, { readonly packets: bigint; readonly bytes: bigint }> {
    const listing = this.#nftables.list(`list counters table ${tableName}`);
    if (!listing.ok) throw new Error(`can't read the kernel's counters: ${listing.message}`);
    const counters = new Map<string, { packets: bigint; bytes: bigint }>();
    for (const object of listing.objects) {
      const { name, packets, bytes } = (object.counter ?? {}) as { name?: string; packets?: number; bytes?: number };
      if (name !== undefined) counters.set(name, { packets: BigInt(packets ?? 0), bytes: BigInt(bytes ?? 0) });
    }
    return counters;
  }

  /** Removes everything that is baton's and puts back what it had changed. */
  cleanup(): void {
    this.run(`add table ${tableName}\ndelete table ${tableName}\n${removeFence}${removeGate}`);
    removeRouting(this.#routes, { routes: [], rules: [], devices: [] });
    this.#sysctls.restore();
    this.#objects = noObjects;
    this.#routing = undefined;
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }

  /** Also for routing that was there before: a device that went down took its routes along. */
  #prepare(routing: Routing): void {
    addRouting(this.#routes, routing);
    this.#sysctls.add([...alwaysSysctls, ...routing.sysctls.filter((sysctl) => !isForwarding(sysctl.path))]);
  }

  /** Forwarding has waited for the rules that guard it. */
  #finish(routing: Routing): void {
    this.#sysctls.apply([...alwaysSysctls, ...routing.sysctls]);
    removeRouting(this.#routes, routing);
    this.#routing = JSON.stringify(routing);
  }

  /** One transaction: no packet finds the gate open, or the fence moved, and the rules not there. */
  #write(state: AgentState, host: AgentHost, ending: string): void {
    const ruleset = renderAgentRuleset(state, host, this.#objects);
    this.run(ruleset.text + ending);
    this.#objects = ruleset.objects;
    this.#inherited = this.#inherited.intersection(new Set(ruleset.objects.sets));
  }

  #host(guardedDevices: readonly string[]): AgentHost {
    const { marks, trackExternalOnly, hostedPorts } = this.#options;
    return { marks, trackExternalOnly, hostedPorts, guardedDevices, deviceOf: this.#deviceOf() };
  }

  #guarded(routing: Routing): string[] {
    return routing.forwarding.filter((device) => {
      const path = forwardingPath(device);
      return (this.#sysctls.foundValue(path) ?? readSysctl(path)) === "0";
    });
  }

  #deviceOf(): ReadonlyMap<IpAddress, string> {
    return new Map(this.devices().flatMap(({ name, addresses }) => addresses.map(({ address }) => [address, name])));
  }

  /** Connections that this host is opening when it is armed are old ones, also if their SYN is repeated later. */
  #markOpening(state: AgentState): void {
    const { marks } = this.#options;
    for (const address of state.addresses) {
      if (address.egress.kind !== "armed") continue;
      const mark = connectionMark(marks, "old", address.generation);
      for (const record of dumpConntrack(this.#conntrack, {
        protocol: "tcp",
        localAddress: address.private,
      })) {
        const opening = record.tcpState === "SYN_SENT" || record.tcpState === "SYN_SENT2";
        if (opening && record.original.source === address.private)
          setConntrackMark(this.#conntrack, record, mark, marks.mask);
      }
    }
  }

  #listObjects(): TableObjects {
    if (!hasTable(this.#nftables, tableName)) return noObjects;
    const listing = this.#nftables.list(`list table ${tableName}`, { terse: true });
    if (!listing.ok) throw new Error(`can't list the kernel's rules: ${listing.message}`);
    const names = (kind: string): string[] =>
      listing.objects.flatMap((object) => (object[kind] as { name?: string } | undefined)?.name ?? []);
    return { chains: names("chain"), sets: names("set"), counters: names("counter") };
  }
}

function forwardingPath(device: string): string {
  return `net/ipv4/conf/${device}/forwarding`;
}

function isForwarding(path: string): boolean {
  return path.endsWith("/forwarding");
}
