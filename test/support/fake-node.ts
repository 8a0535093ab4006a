/** An agent or a gateway that has no kernel: it judges fences, keeps the state, and reports as a real one would. */
import type { NodeSession } from "../../src/coordinator/fenced-node.ts";
import { type IpAddress, ipAddressFromBytes } from "../../src/flow/address.ts";
import { type Fence, judgeFence } from "../../src/node/fence.ts";
import { type AgentState, type GatewayState, hasSwitched, type ShardPosition } from "../../src/node/state.ts";
import {
  emptyStatus,
  type HookReport,
  type HostingReport,
  type NodeFault,
  type NodeHello,
  type NodeKind,
  type NodeStatus,
} from "../../src/node/status.ts";
import type { DesiredState } from "../../src/rpc/node-codec.ts";

export class FakeNode {
  readonly name: string;
  readonly kind: NodeKind;
  readonly #number: number;
  readonly inbox: DesiredState[] = [];
  readonly outbox: NodeStatus[] = [];
  session: NodeSession | undefined;
  mtu = 1500;
  held: Fence | undefined;
  agentState: AgentState | undefined;
  gatewayState: GatewayState | undefined;
  faults: readonly NodeFault[] = [];
  /** Every state that was applied, for a test to look back. */
  onApply: (() => void) | undefined;
  /** Open flows by public address. */
  readonly flows = new Map<IpAddress, number>();
  readonly #atSwitch = new Map<string, number>();
  readonly #cut = new Map<string, number>();
  #proofs: { id: string; sender: string; mtu: number }[] = [];
  refused: string[] = [];
  offlineHook = false;
  resetsConnections = true;
  /** What the hook comes to; none: it never tells. */
  hookOutcome: HookReport["outcome"] | undefined = "done";
  /** Of the tracker beside it; none: it hosts none. */
  hosting: HostingReport | undefined;
  /** Of this run of its process; another one after {@link restart}. */
  boot = 0;
  /** Of this run of its kernel; another one after {@link reboot}. */
  kernel = 0;
  /** Its kernel can be reached through channels. */
  answers = true;
  /** It was cut off, and has not heard since what became of its connections. */
  estranged = false;
  /** It asks the kernels behind its channels. */
  probes = true;
  readonly #probes = new Map<number, { sent: bigint; answered: bigint }>();
  packets = 0n;
  opened = 0;
  /** Where its snapshots and barriers stand in the event stream. */
  positions: readonly ShardPosition[] = [{ shard: 3, sequence: 9n }];

  constructor(name: string, kind: NodeKind, number: number) {
    this.name = name;
    this.kind = kind;
    this.#number = number;
  }

  flowsOf(address: IpAddress): number {
    return this.flows.get(address) ?? 0;
  }

  hello(): NodeHello {
    const own = this.kind === "agent" ? [this.#number, this.#number + 100] : [this.#number];
    const addresses = own.map((last) => ({
      address: ipAddressFromBytes(Uint8Array.of(10, 77, 0, last)),
      prefixLength: 24,
    }));
    return {
      name: this.name,
      kind: this.kind,
      boot: this.boot.toString(16).padStart(32, "0"),
      version: "0.1.0",
      ...(this.kind === "agent" && { kernel: this.kernel.toString(16).padStart(48, "0") }),
      ...(this.held && { held: this.held }),
      devices: [
        {
          name: "eth0",
          linkAddress: `02:00:00:00:00:${this.#number.toString(16).padStart(2, "0")}`,
          mtu: this.mtu,
          addresses,
        },
      ],
      privateAddresses: this.kind === "agent" ? addresses.map(({ address }) => address) : [],
      channels: this.kind === "agent" ? ["direct", "vxlan"] : [],
      publicMtu: this.kind === "gateway" ? this.mtu : 0,
      offlineHook: this.offlineHook,
      resetsConnections: this.resetsConnections,
    };
  }

  apply(desired: DesiredState): void {
    const verdict = judgeFence(this.held, desired.fence);
    if (verdict.kind === "refuse") {
      this.refused.push(verdict.reason);
      return;
    }
    this.held = desired.fence;
    this.estranged = false;
    if (desired.kind === "agent") this.agentState = desired.state;
    else this.gatewayState = desired.state;
    this.#follow();
    this.onApply?.();
    this.report();
  }

  /** All kernel state is gone, as after a reboot. */
  reboot(): void {
    this.held = undefined;
    this.agentState = undefined;
    this.gatewayState = undefined;
    this.#proofs = [];
    this.flows.clear();
    this.#probes.clear();
    this.kernel++;
  }

  /** A reboot after which the last state is applied from the disk: its connections are gone. */
  powerCycle(): void {
    this.flows.clear();
    this.#probes.clear();
    this.kernel++;
    this.restart();
  }

  /** The process is another one; the kernel and its connections are the same, what was counted is forgotten. */
  restart(): void {
    this.boot++;
    this.#cut.clear();
    this.#atSwitch.clear();
    this.#follow();
  }

  /** As where its channels' kernels have never answered. */
  forgetProbes(): void {
    this.#probes.clear();
  }

  probe(link: number, probes: bigint, answered: boolean): void {
    if (!this.probes) return;
    const { sent, answered: before } = this.#probes.get(link) ?? { sent: 0n, answered: 0n };
    this.#probes.set(link, { sent: sent + probes, answered: before + (answered ? probes : 0n) });
    this.report();
  }

  open(address: IpAddress, flows: number): void {
    this.flows.set(address, this.flowsOf(address) + flows);
    this.report();
  }

  close(address: IpAddress): void {
    this.flows.set(address, 0);
    this.report();
  }

  noteProof(id: string, sender: string, mtu: number): void {
    if (this.#proofs.some((proof) => proof.id === id && proof.sender === sender)) return;
    this.#proofs.push({ id, sender, mtu });
    this.report();
  }

  report(): void {
    if (this.session !== undefined) this.outbox.push(this.status());
  }

  status(): NodeStatus {
    const agent = this.agentState;
    const gateway = this.gatewayState;
    return {
      ...emptyStatus,
      ...(this.held && { applied: this.held }),
      faults: this.faults,
      marks: (agent?.marks ?? []).map(({ id }) => ({ id, positions: this.positions, flows: 0 })),
      loads: (agent?.addresses ?? []).flatMap(({ follows }) =>
        follows.map((follow) => ({ id: follow.loadId, entries: 0 })),
      ),
      proofs: this.#proofs,
      drains: (agent?.addresses ?? [])
        .filter((entry) => entry.watchDrain || entry.follows.length > 0)
        .map((entry) => ({
          address: entry.address,
          generation: entry.generation,
          open: this.flowsOf(entry.address),
          opened: this.opened,
          ...(entry.cut && !this.resetsConnections && { unresettable: this.flowsOf(entry.address) }),
          cut: this.#cut.get(`${entry.address} ${entry.generation}`) ?? 0,
          ...(this.#atSwitch.has(`${entry.address} ${entry.generation}`) && {
            atSwitch: this.#atSwitch.get(`${entry.address} ${entry.generation}`) ?? 0,
          }),
        })),
      links: (agent?.links ?? []).map(({ id }) => ({
        id,
        followedPackets: this.packets,
        followedBytes: this.packets * 100n,
        returnedPackets: this.packets,
        returnedBytes: this.packets * 100n,
        unknownPackets: 0n,
        refusedPackets: 0n,
        superseded: 0n,
        probesSent: this.#probes.get(id)?.sent ?? 0n,
        probesAnswered: this.#probes.get(id)?.answered ?? 0n,
      })),
      hooks: this.#hooks(),
      ...(this.hosting && { hosting: this.hosting }),
      retired: (gateway?.accepts ?? []).filter(({ retiring }) => retiring).map((accept) => accept.private),
    };
  }

  #hooks(): HookReport[] {
    const id = this.agentState?.offline;
    return id === undefined || this.hookOutcome === undefined
      ? []
      : [{ id, outcome: this.hookOutcome, message: "said" }];
  }

  #follow(): void {
    if ((this.agentState?.discards ?? []).length > 0)
      for (const address of this.flows.keys())
        if (!this.agentState?.addresses.some((entry) => entry.address === address)) this.flows.delete(address);
    for (const entry of this.agentState?.addresses ?? []) {
      const key = `${entry.address} ${entry.generation}`;
      if (hasSwitched(entry.egress) && entry.watchDrain && !this.#atSwitch.has(key))
        this.#atSwitch.set(key, this.flowsOf(entry.address));
      if (!entry.cut || !this.resetsConnections) continue;
      this.#cut.set(key, (this.#cut.get(key) ?? 0) + this.flowsOf(entry.address));
      this.flows.set(entry.address, 0);
    }
  }
}
