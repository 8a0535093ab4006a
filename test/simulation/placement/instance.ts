/** An agent with its flows; what it says is numbered by the real sequencer. */
import type { IpAddress } from "../../../src/flow/address.ts";
import type { FlowEventBatch, FlowRow } from "../../../src/flow/events.ts";
import { type FlowKey, flowKeyText } from "../../../src/flow/flow.ts";
import { KeyDigest } from "../../../src/flow/key-digest.ts";
import { type FlowChange, FlowSequencer } from "../../../src/flow/sequencer.ts";
import { type Layout, oldShardsOf, placeOf, shardsUnder } from "../../../src/placement/layout.ts";
import { Layouts } from "../../../src/placement/layouts.ts";
import { ip, keyOf } from "../../support/flows.ts";
import type { Random } from "../random.ts";

const addressesEach = 3;
const portMax = 60;
const bufferedMax = 10_000;

/** How far it has come with a change of buckets. */
export type Stage = "told nothing" | "shards told" | "telling" | "done";

export class Instance {
  readonly name: string;
  readonly addresses: readonly IpAddress[];
  readonly #shards: number;
  readonly #firstPort: number;
  readonly #flows = new Map<string, FlowRow>();
  readonly #stages = new Map<IpAddress, Stage>();
  /** Shards that are still to be told of all that belongs to them. */
  readonly #untold = new Map<IpAddress, readonly number[]>();
  #boots = 0;
  #layouts: Layouts;
  #sequencer: FlowSequencer;

  constructor(index: number, shards: number, instances: number) {
    this.name = `vm-${index}`;
    this.#shards = shards;
    this.#firstPort = 1 + index * portMax;
    const own = Array.from({ length: addressesEach }, (_, address) => ip(`203.0.113.${10 * index + address}`));
    // It also has flows of the next one's first address, which it held before.
    this.addresses = [...own, ip(`203.0.113.${10 * ((index + 1) % instances)}`)];
    this.#layouts = new Layouts(shards);
    this.#sequencer = this.#boot();
  }

  /** One flow opens, changes or ends. `oracle`: whom it is told. */
  churn(random: Random, oracle: Map<string, FlowKey>): void {
    const address = this.addresses[random.below(this.addresses.length)] as IpAddress;
    const key = keyOf(this.#firstPort + random.below(portMax), address);
    const text = flowKeyText(key);
    const known = this.#flows.get(text);
    if (known !== undefined && random.chance(0.5)) {
      this.#flows.delete(text);
      oracle.delete(text);
      this.#change({ ...known, state: "closed", opens: false });
      return;
    }
    const row: FlowRow = known ?? { key, state: "open", openedAtMs: 1_000, generation: 1n };
    this.#flows.set(text, row);
    oracle.set(text, key);
    this.#change({ ...row, opens: known === undefined });
  }

  /** Of the state that it is given; as the agent does, it goes on as before until {@link proceed}. */
  lay(address: IpAddress, layout: Layout): void {
    const { before, generation } = layout;
    this.#layouts.take(address, before === undefined ? layout : { buckets: before, generation: generation - 1 });
    if (before !== undefined) this.#stages.set(address, "told nothing");
  }

  stageOf(address: IpAddress): Stage {
    return this.#stages.get(address) ?? "done";
  }

  /** The next step of a change; what the step before it has said is stored by now. */
  proceed(address: IpAddress, layout: Layout, random: Random): void {
    switch (this.stageOf(address)) {
      case "told nothing":
        this.#tellPlaces(address, layout, false);
        this.#stages.set(address, "shards told");
        return;
      case "shards told":
        this.#layouts.take(address, layout);
        this.#untold.set(address, random.sample(layout.buckets, layout.buckets));
        this.#stages.set(address, "telling");
        return;
      case "telling":
        this.#tellNext(address, layout);
        return;
      case "done":
    }
  }

  /** Its process begins anew, with the same kernel and the state that it had. */
  restart(layouts: ReadonlyMap<IpAddress, Layout>): void {
    this.#layouts = new Layouts(this.#shards);
    this.#sequencer = this.#boot();
    for (const address of this.addresses) this.lay(address, layouts.get(address) ?? { buckets: 1, generation: 0 });
    for (let shard = 0; shard < this.#shards; shard++) this.snapshot(shard);
  }

  snapshot(shard: number): void {
    this.#sequencer.snapshot(shard, [], [...this.#flows.values()]);
  }

  digest(): void {
    for (let shard = 0; shard < this.#shards; shard++) {
      const digest = new KeyDigest();
      for (const { key } of this.#flows.values()) if (this.#layouts.shardOf(key) === shard) digest.add(key);
      this.#sequencer.digest(shard, digest);
    }
  }

  *messages(shard: number): Generator<FlowEventBatch> {
    this.#sequencer.seal(shard);
    for (let taken = this.#sequencer.take(shard); taken !== undefined; taken = this.#sequencer.take(shard))
      yield taken.batch;
  }

  /** Of its shards one after the other, in any order; then all that had its flows let go. */
  #tellNext(address: IpAddress, layout: Layout): void {
    const [bucket, ...untold] = this.#untold.get(address) ?? [];
    this.#untold.set(address, untold);
    const shard = shardsUnder(address, layout.buckets, this.#shards)[bucket ?? -1];
    if (shard !== undefined) {
      this.#snapshotOf(address, shard);
      return;
    }
    this.#layouts.toldAll(address, layout.generation);
    this.#tellPlaces(address, layout, true);
    this.#stages.set(address, "done");
  }

  #tellPlaces(address: IpAddress, layout: Layout, released: boolean): void {
    for (const shard of oldShardsOf(address, layout, this.#shards))
      this.#sequencer.places(shard, [placeOf(address, layout, shard, this.#shards)], released);
  }

  #change(change: FlowChange): void {
    this.#sequencer.change(this.#layouts.shardOf(change.key), change);
  }

  #snapshotOf(address: IpAddress, shard: number): void {
    const flows = [...this.#flows.values()].filter(({ key }) => key.address === address);
    this.#sequencer.snapshot(shard, [address], flows);
  }

  #boot(): FlowSequencer {
    const boot = `boot ${++this.#boots} of ${this.name}`;
    return new FlowSequencer({ instance: this.name, boot, layouts: this.#layouts, rowsMax: 8, bufferedMax });
  }
}
