/**
 * The flows of an address, listed as clients list them: of any holder of each of its shards, by the newest layout, taken together.
 * Holders that lack nothing must never leave out a flow that lives, wherever it is on its way.
 */
import type { IpAddress } from "../../../src/flow/address.ts";
import { type FlowKey, flowKeyText } from "../../../src/flow/flow.ts";
import { type Layout, layoutOf, shardsOf } from "../../../src/placement/layout.ts";
import type { Asked } from "./questions.ts";

const faultsMax = 10;

export interface ListingParts {
  readonly shards: number;
  readonly holderOf: (shard: number) => Asked | undefined;
}

export class Listings {
  readonly faults: string[] = [];
  /** Of which all holders lacked nothing while flows moved. */
  whileMoving = 0;
  readonly #parts: ListingParts;

  constructor(parts: ListingParts) {
    this.#parts = parts;
  }

  tick(oracle: ReadonlyMap<string, FlowKey>, layouts: ReadonlyMap<IpAddress, Layout>): void {
    for (const address of layouts.keys()) this.#list(address, oracle, layoutOf(layouts, address));
  }

  #list(address: IpAddress, oracle: ReadonlyMap<string, FlowKey>, layout: Layout): void {
    const shards = new Set(shardsOf(address, layout, this.#parts.shards));
    const asked = [...shards].map((shard) => this.#parts.holderOf(shard));
    const tables = asked.flatMap((it) => (it?.isUpToDate === true ? [it.table] : []));
    if (tables.length < shards.size) return;
    if (layout.before !== undefined) this.whileMoving++;
    const listed = new Set(
      tables.flatMap((table) => [...table.flowsOf({ address })].flatMap((it) => (it ? [flowKeyText(it.key)] : []))),
    );
    for (const [text, key] of oracle)
      if (key.address === address && !listed.has(text) && this.faults.length < faultsMax)
        this.faults.push(`${text}, which lives, is in no list by layout ${JSON.stringify(layout)}`);
  }
}
