/** The next epoch when an operator gives an address another number of buckets, and when its flows have moved. Pure. */
import type { IpAddress } from "../flow/address.ts";
import type { Assignment } from "./assignment.ts";
import { bucketsMax, type Layout, layoutOf, layoutsMax } from "./layout.ts";

export type Relaid =
  | { readonly ok: true; readonly next: Assignment; readonly layout: Layout }
  /** `reason`: a sentence for the operator. */
  | { readonly ok: false; readonly why: "bounds" | "nothing" | "limit"; readonly reason: string };

export function setBuckets(current: Assignment, address: IpAddress, buckets: number): Relaid {
  const { buckets: before, generation, before: earlier } = layoutOf(current.layouts, address);
  const most = Math.min(bucketsMax, current.holders.length);
  if (!Number.isInteger(buckets) || buckets < 1 || buckets > most) {
    const reason = `buckets: expected a whole number from 1 to ${most}, found ${buckets}; each has a shard of its own`;
    return { ok: false, why: "bounds", reason };
  }
  if (earlier !== undefined) {
    const reason = `flows of ${address} are still on their way from ${earlier} to ${before} buckets: see baton cluster shards`;
    return { ok: false, why: "nothing", reason };
  }
  if (buckets === before)
    return {
      ok: false,
      why: "nothing",
      reason: `${address} has ${before === 1 ? "one bucket" : `${before} buckets`} already`,
    };
  const isNew = current.layouts?.has(address) !== true;
  if (isNew && (current.layouts?.size ?? 0) >= layoutsMax)
    return { ok: false, why: "limit", reason: `${layoutsMax} addresses have or had several buckets: that is the most` };
  const layout = { buckets, generation: generation + 1, before };
  return { ok: true, next: withLayout(current, address, layout), layout };
}

/** Undefined: nothing is on its way by this layout, or by another one now. */
export function settleBuckets(current: Assignment, address: IpAddress, moving: Layout): Assignment | undefined {
  const { buckets, generation, before } = layoutOf(current.layouts, address);
  if (before === undefined || generation !== moving.generation) return undefined;
  return withLayout(current, address, { buckets, generation });
}

/** Addresses whose flows are on their way, with their layouts. */
export function movingLayouts({ layouts }: Assignment): readonly (readonly [IpAddress, Layout])[] {
  return [...(layouts ?? [])].filter(([, { before }]) => before !== undefined);
}

function withLayout(current: Assignment, address: IpAddress, layout: Layout): Assignment {
  return { ...current, epoch: current.epoch + 1n, layouts: new Map(current.layouts).set(address, layout) };
}
