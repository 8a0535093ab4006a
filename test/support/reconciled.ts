/** A whole listing taken into a flow table at one moment. */
import type { IpAddress } from "../../src/flow/address.ts";
import type { Flow } from "../../src/flow/flow.ts";
import type { FlowTable } from "../../src/flow/flow-table.ts";
import type { FlowChange } from "../../src/flow/observe.ts";

export function reconciled(
  table: FlowTable,
  address: IpAddress,
  listing: Iterable<FlowChange>,
  nowMs: number,
): { readonly events: readonly Flow[]; readonly refused: number } {
  using reconciliation = table.reconcile(address);
  for (const change of listing) reconciliation.note(change);
  const applied = [...reconciliation.finish(nowMs)];
  return {
    events: applied.flatMap((one) => (one.kind === "event" ? [one.flow] : [])),
    refused: applied.filter(({ kind }) => kind === "full").length,
  };
}
