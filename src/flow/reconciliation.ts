/**
 * A listing of an address's flows on its way into the flow table, at leisure: changes go on being applied meanwhile.
 *
 * Invariant: a flow that a change has spoken of since the listing began is left alone. What the listing shows of it may
 * be older than the change; if it is younger, another change is on its way.
 */
import type { IpAddress } from "./address.ts";
import type { FlowKey } from "./flow.ts";
import type { Applied } from "./flow-table.ts";
import type { FlowChange } from "./observe.ts";
import { PartedMap } from "./parted-map.ts";

/** The table, as its reconciliation needs it. */
export interface ReconciledTable {
  idOf(key: FlowKey): string;
  /** Of the address's flows, living with the table. */
  ids(): Iterable<string>;
  close(id: string, nowMs: number): Applied;
  apply(change: FlowChange, nowMs: number): Applied;
  finished(): void;
}

const unchanged: Applied = { kind: "unchanged" };

export class Reconciliation implements Disposable {
  readonly #address: IpAddress;
  readonly #table: ReconciledTable;
  readonly #listed = new PartedMap<FlowChange>();
  readonly #changed = new Set<string>();
  #finishing = false;

  constructor(address: IpAddress, table: ReconciledTable) {
    this.#address = address;
    this.#table = table;
  }

  /** The listing shows this. Of two for one flow the later counts; closed means absent; other addresses are ignored. */
  note(change: FlowChange): void {
    if (change.key.address !== this.#address) return;
    const id = this.#table.idOf(change.key);
    if (change.state === "closed") this.#listed.delete(id);
    else this.#listed.set(id, change);
  }

  /** A change of this flow was applied. */
  changed(id: string): void {
    if (!this.#finishing) this.#changed.add(id);
  }

  /**
   * The listing is whole: makes the table equal to it, a flow a step, and gives what each step did. Closes first, so that
   * they make room.
   */
  *finish(nowMs: number): Generator<Applied> {
    for (const id of this.#table.ids())
      yield this.#listed.has(id) || this.#changed.has(id) ? unchanged : this.#step(() => this.#table.close(id, nowMs));
    for (const [id, change] of this.#listed)
      yield this.#changed.has(id) ? unchanged : this.#step(() => this.#table.apply(change, nowMs));
  }

  /** The table forgets it; whatever it has not done yet stays undone. */
  [Symbol.dispose](): void {
    this.#table.finished();
  }

  #step(work: () => Applied): Applied {
    this.#finishing = true;
    try {
      return work();
    } finally {
      this.#finishing = false;
    }
  }
}
