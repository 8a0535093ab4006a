/**
 * The gateway itself: which state it holds, what of it stands in the kernel, what it has to say about it.
 *
 * Owns the order of things: a state is judged by its fence, checked, and only then written, in one transaction. What an
 * earlier run has left, in the kernel or after a reboot on the disk, forwards until the next state replaces it; without
 * such a rest nothing passes.
 */
import { checkFence } from "../../src/dataplane/fence-table.ts";
import { checkGatewayState } from "../../src/dataplane/gateway-check.ts";
import { closedTable, type GatewayDevices, gatewayTable } from "../../src/dataplane/gateway-ruleset.ts";
import { dueToGo, type RetirementWatches, watchRetiring } from "../../src/dataplane/retirement.ts";
import type { IpAddress, Prefix } from "../../src/flow/address.ts";
import { type Fence, judgeFence } from "../../src/node/fence.ts";
import type { GatewayState } from "../../src/node/state.ts";
import { emptyStatus, type NodeFault, type NodeStatus } from "../../src/node/status.ts";
import type { Logger } from "../../src/runtime/log.ts";
import type { KernelTable, WriteOutcome } from "./kernel-table.ts";
import type { Prover } from "./prover.ts";

export interface OrderedGatewayState {
  readonly fence: Fence;
  readonly state: GatewayState;
}

export interface GatewayParts {
  readonly table: Pick<KernelTable, "fence" | "stands" | "write" | "forget" | "retiringPackets">;
  readonly devices: GatewayDevices;
  /** Dropped until there is a state. */
  readonly publicPrefixes: readonly Prefix[];
  readonly prover: Pick<Prover, "want" | "reports" | "faults">;
  readonly log: Logger;
}

export class Gateway {
  readonly #parts: GatewayParts;
  /** Of what stands in the kernel. */
  #fence: Fence | undefined;
  /** What stands in the kernel, as far as this run knows it. */
  #state: GatewayState | undefined;
  /** Retiring Accepts of the state that are removed. */
  #gone: ReadonlySet<IpAddress> = new Set();
  #watches: RetirementWatches = new Map();
  #faults: readonly NodeFault[] = [];
  #refusal: NodeFault | undefined;
  /** Times that rules which somebody had removed were written again. */
  rewritten = 0;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
  }

  /**
   * @param kept the state on disk
   * @throws Error when the kernel does not take the rules
   */
  start(kept: OrderedGatewayState | undefined): void {
    const { table, log } = this.#parts;
    const standing = table.fence;
    this.#fence = standing;
    if (kept !== undefined && judgeFence(standing, kept.fence).kind !== "refuse") {
      const fault = this.#write(kept.state, kept.fence);
      if (fault !== undefined) throw new Error(fault.message);
      this.#faults = checkGatewayState(kept.state).faults;
      log.info({ generation: kept.fence.generation.toString() }, "took up the state of an earlier run");
    } else if (standing === undefined) {
      const outcome = this.#close();
      if (!outcome.ok) throw new Error(`the kernel does not take the gateway's rules: ${outcome.message}`);
      log.info("nothing is forwarded until a coordinator has sent a state");
    } else {
      log.warn("rules of an earlier run forward on; what they are is not known, the next state replaces them");
    }
  }

  /** True: the state is new, and stands in the kernel. */
  apply({ fence, state }: OrderedGatewayState): boolean {
    const check = checkGatewayState(state);
    const fault = refusalOf(this.#fence, fence) ?? check.refusal ?? this.#write(state, fence);
    this.#refusal = fault === undefined ? undefined : { ...fault, fence };
    if (fault === undefined) {
      this.#faults = check.faults;
      return true;
    }
    this.#parts.log.warn({ fault, generation: fence.generation.toString() }, "a state was not applied");
    return false;
  }

  /** Looks at what is on its way out. True: something went. */
  retire(nowMs: number): boolean {
    const { table, log } = this.#parts;
    const fence = table.fence;
    const retiring = this.#state?.accepts.filter((accept) => accept.retiring && !this.#gone.has(accept.private)) ?? [];
    if (this.#state === undefined || fence === undefined || retiring.length === 0) return false;
    const packets = table.retiringPackets();
    if (packets === undefined) return this.mend();
    this.#watches = watchRetiring(this.#watches, packets, nowMs);
    const due = dueToGo(this.#watches, nowMs);
    if (due.length === 0) return false;
    const fault = this.#write(this.#state, fence, new Set([...this.#gone, ...due]));
    if (fault !== undefined) log.error({ fault }, "retired translations could not be removed");
    return fault === undefined;
  }

  /**
   * Looks whether the kernel still has the rules, and writes them again where somebody has removed them. True: so it was.
   * @throws Error where they were an earlier run's: only a coordinator knows them, and tells a process that starts
   */
  mend(): boolean {
    const { table, log } = this.#parts;
    if (table.stands()) return false;
    const [state, fence] = [this.#state, this.#fence];
    if (state === undefined && fence !== undefined)
      throw new Error("somebody has removed the rules of an earlier run from the kernel: start the gateway again");
    log.error("somebody has removed the gateway's rules from the kernel: writing them again");
    table.forget();
    const fault = state === undefined || fence === undefined ? refusedBy(this.#close()) : this.#write(state, fence);
    if (fault === undefined) this.rewritten++;
    else log.error({ fault }, "the rules could not be written again");
    return true;
  }

  status(): NodeStatus {
    const { table, prover } = this.#parts;
    const applied = table.fence;
    return {
      ...emptyStatus,
      ...(applied !== undefined && { applied }),
      faults: [...this.#faults, ...(this.#refusal === undefined ? [] : [this.#refusal]), ...prover.faults()],
      proofs: prover.reports(),
      retired: [...this.#gone],
    };
  }

  /** Empty: the gateway forwards by a state that it knows. */
  notReady(): readonly string[] {
    if (!this.#parts.table.stands()) return ["somebody has removed the gateway's rules from the kernel"];
    if (this.#state !== undefined) return [];
    if (this.#parts.table.fence !== undefined) return ["rules of an earlier run forward; no state has come since"];
    return ["no coordinator has sent a state yet; nothing is forwarded"];
  }

  #close(): WriteOutcome {
    const { table, devices, publicPrefixes } = this.#parts;
    return table.write(closedTable(devices, publicPrefixes), undefined);
  }

  /** `gone`: retiring Accepts that are to be out of the kernel. */
  #write(state: GatewayState, fence: Fence, gone = this.#gone): NodeFault | undefined {
    const retiring = new Set(state.accepts.filter((accept) => accept.retiring).map((accept) => accept.private));
    const stillGone = new Set([...gone].filter((address) => retiring.has(address)));
    const outcome = this.#parts.table.write(gatewayTable(this.#parts.devices, state, stillGone), fence);
    const fault = refusedBy(outcome);
    if (fault !== undefined) return fault;
    this.#fence = fence;
    this.#gone = stillGone;
    // A watch that outlived its Accept would let the next one of that address go at once.
    const watched = [...this.#watches].filter(([address]) => retiring.has(address) && !stillGone.has(address));
    this.#watches = new Map(watched);
    if (state !== this.#state) this.#parts.prover.want(state);
    this.#state = state;
    return undefined;
  }
}

function refusedBy(outcome: WriteOutcome): NodeFault | undefined {
  return outcome.ok ? undefined : { code: "NODE_FAILED", message: `the kernel refused the rules: ${outcome.message}` };
}

function refusalOf(held: Fence | undefined, offered: Fence): NodeFault | undefined {
  const verdict = judgeFence(held, offered);
  const reason = verdict.kind === "refuse" ? verdict.reason : checkFence(offered);
  return reason === undefined ? undefined : { code: "INVALID_ARGUMENT", message: reason };
}
