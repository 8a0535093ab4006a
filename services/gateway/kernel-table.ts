/**
 * What the gateway has in the kernel: its table, and the fence beside it.
 *
 * Owns the knowledge of what stands there, so that a change writes only what differs. What another run left is not
 * known in detail and is written over as a whole, in one transaction that packets don't notice.
 */
import { gateTableName, removeGate } from "../../src/dataplane/boot-gate.ts";
import { removeFence, renderFence } from "../../src/dataplane/fence-table.ts";
import {
  type GatewayCounter,
  type GatewayTable,
  gatewayCounters,
  removeTable,
  renderChange,
  renderTable,
} from "../../src/dataplane/gateway-ruleset.ts";
import { tableName } from "../../src/dataplane/names.ts";
import { type IpAddress, parseIpAddress } from "../../src/flow/address.ts";
import { hasTable, readFence, standsUnder } from "../../src/kernel/fence-table.ts";
import type { Nftables, NftablesObject } from "../../src/kernel/nftables.ts";
import { type Fence, isSameFence } from "../../src/node/fence.ts";

export type WriteOutcome = { readonly ok: true } | { readonly ok: false; readonly message: string };

export class KernelTable {
  readonly #nftables: Nftables;
  #table: GatewayTable | undefined;
  #fence: Fence | undefined;
  /** The gate of the boot stands; the first table takes its place. */
  #gated: boolean;

  /** Reads what an earlier run has left. */
  constructor(nftables: Nftables) {
    this.#nftables = nftables;
    // A fence without the table proves nothing: somebody has removed the rules.
    this.#fence = hasTable(nftables, tableName) ? readFence(nftables) : undefined;
    this.#gated = hasTable(nftables, gateTableName);
  }

  /** Of the state that stands in the kernel; undefined: none does. */
  get fence(): Fence | undefined {
    return this.#fence;
  }

  /**
   * One transaction, or nothing at all. Where the kernel no longer has what was written, all of it is written again.
   * Without a fence: what stands there is no state.
   */
  write(table: GatewayTable, fence: Fence | undefined): WriteOutcome {
    const change =
      this.#table === undefined ? undefined : `${renderChange(this.#table, table)}${this.#fenceText(fence)}`;
    const outcome = change === undefined ? undefined : this.#run(change);
    const whole = `${renderTable(table)}${this.#fenceText(fence)}${this.#gated ? removeGate : ""}`;
    const done = outcome?.ok === true ? outcome : this.#run(whole);
    if (!done.ok) return done;
    this.#gated = false;
    this.#table = table;
    this.#fence = fence;
    return done;
  }

  /** What was written last is in the kernel. */
  stands(): boolean {
    return standsUnder(this.#nftables, this.#fence);
  }

  /** Nothing is known to stand in the kernel: the next write writes all. */
  forget(): void {
    this.#table = undefined;
    this.#fence = undefined;
  }

  /** Packets of each retiring translation so far; undefined: the kernel does not say. */
  retiringPackets(): ReadonlyMap<IpAddress, bigint> | undefined {
    const listing = this.#nftables.list(`list set ${tableName} retiring`);
    if (!listing.ok) return undefined;
    const elements = listing.objects.flatMap((object) => objectAt(object, "set")?.elem ?? []) as readonly unknown[];
    return new Map(elements.flatMap((element) => countedElement(element) ?? []));
  }

  counters(): Readonly<Partial<Record<GatewayCounter, number>>> {
    const listing = this.#nftables.list(`list counters table ${tableName}`);
    if (!listing.ok) return {};
    const counts = listing.objects.flatMap((object) => {
      const counter = objectAt(object, "counter");
      const { name, packets } = counter ?? {};
      return typeof name === "string" && name in gatewayCounters && typeof packets === "number"
        ? [[name, packets]]
        : [];
    });
    return Object.fromEntries(counts);
  }

  /** Removes all that is the gateway's, whether or not it is there. */
  remove(): WriteOutcome {
    return this.#run(`${removeTable}${removeFence}${removeGate}`);
  }

  #run(text: string): WriteOutcome {
    if (text === "") return { ok: true };
    const outcome = this.#nftables.run(text);
    return outcome.ok ? { ok: true } : outcome;
  }

  #fenceText(fence: Fence | undefined): string {
    if (fence === undefined) return this.#fence === undefined ? "" : removeFence;
    return isSameFence(this.#fence, fence) ? "" : renderFence(fence);
  }
}

/** `{"elem": {"val": "10.77.0.11", "counter": {"packets": 4, "bytes": 336}}}` */
function countedElement(element: unknown): readonly [IpAddress, bigint][] | undefined {
  const { val, counter } = objectAt(element, "elem") ?? {};
  const address = typeof val === "string" ? parseIpAddress(val) : undefined;
  const packets = objectAt({ counter }, "counter")?.packets;
  return address === undefined || typeof packets !== "number" ? undefined : [[address, BigInt(packets)]];
}

function objectAt(value: unknown, key: string): Readonly<Record<string, unknown>> | undefined {
  const held = typeof value === "object" && value !== null ? (value as NftablesObject)[key] : undefined;
  return typeof held === "object" && held !== null ? (held as Readonly<Record<string, unknown>>) : undefined;
}
