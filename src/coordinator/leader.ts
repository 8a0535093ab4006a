/** One leadership: from reading the store to the last order. Owns the conductor and the desks of one term. */

import { EpochMirror } from "../bus/epoch-mirror.ts";
import { epochOfKey } from "../bus/epoch-record.ts";
import type { KvBucket, KvChange } from "../bus/kv.ts";
import type { LayoutMap } from "../placement/layout.ts";
import { hasEnded } from "../remap/phase.ts";
import type { ProjectionConfig } from "../remap/projection.ts";
import { takeUp } from "../remap/record.ts";
import type { Bounds } from "../remap/transition.ts";
import { remapOf } from "../remap/view.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/log.ts";
import { isAbort, sleep } from "../runtime/retry.ts";
import { ClusterState } from "./cluster-state.ts";
import { Conductor } from "./conductor.ts";
import type { Term } from "./election.ts";
import type { FirstAddress } from "./first-addresses.ts";
import { addFirstAddresses } from "./first-addresses.ts";
import { InventoryDesk } from "./inventory-desk.ts";
import type { Mirror } from "./mirror.ts";
import type { ConductorPorts, EventPort, TrackerPort } from "./ports.ts";
import { RemapDesk } from "./remap-desk.ts";
import { LeaderStore } from "./store.ts";
import { auditsOf, obsoleteKeys, recover, writerOf } from "./stored.ts";
import { TermHistory } from "./term-history.ts";
import { Turns } from "./turns.ts";

export interface LeaderOptions {
  readonly name: string;
  readonly process: string;
  /** Of the cluster, for its whole life. */
  readonly shards: number;
  readonly projection: ProjectionConfig;
  readonly bounds: Bounds;
  readonly firstAddresses: readonly FirstAddress[];
  readonly bucket: KvBucket;
  readonly mirror: Mirror;
  readonly tracker: TrackerPort;
  readonly events: EventPort;
  readonly clock: Clock;
  readonly newId: () => string;
  /** A node obeys this term, which is not below the leader's. */
  readonly hear: (term: bigint) => void;
  readonly onWrite: (ms: number) => void;
  readonly log: Logger;
}

/** Time passes for remaps this often: it bounds how late a deadline is noticed. */
const tickMs = 200;

export interface Leader {
  readonly term: bigint;
  readonly cluster: ClusterState;
  readonly conductor: Conductor;
  readonly remaps: RemapDesk;
  readonly inventory: InventoryDesk;
}

/** Reads everything that was stored before the term began, then leads. Throws the abort reason, or StoredValueError. */
export async function takeOver(term: Term, options: LeaderOptions): Promise<Leader> {
  const { mirror, bucket, clock, events, log } = options;
  const writer = `${options.process} ${term.term}`;
  const { signal } = term;
  await mirror.reached(term.revision, signal);
  mirror.onChange((change) => {
    if (isForeign(change, writer))
      term.resign(`${change.key} was written by an earlier leader: reading the store anew`);
  }, signal);
  const { inventory, remaps, lastEntry, terms, acceptedTerm } = recover(mirror.values);
  const states = remaps.map((record) => takeUp(record, true));
  const history = new TermHistory(terms, acceptedTerm);
  const leadership = { term: term.term, name: options.name, lease: term.lease, history };
  const cluster = new ClusterState(options.projection, leadership, inventory, states);
  const store = new LeaderStore({
    bucket,
    writer,
    lastEntry,
    signal,
    onWrite: options.onWrite,
    onAudit: (audit) => events.audit(audit),
    clock,
  });
  const ports: ConductorPorts = {
    store,
    tracker: options.tracker,
    events,
    clock,
    newId: options.newId,
    leads: term.held,
    lost(reason, heard) {
      if (heard !== undefined) options.hear(heard);
      term.resign(reason);
    },
  };
  // Whatever the leader before has stored and told nobody of; what follows from it is told after it.
  for (const state of cluster.openRemaps()) events.remapChanged(remapOf(state), state.record.step);
  const ended = states.filter(({ record }) => hasEnded(record));
  const toEnd = ended.map((state) => ({ remap: remapOf(state), step: state.record.step }));
  events.takenOver(toEnd, auditsOf(mirror.values), signal);
  const conductor = new Conductor(cluster, ports, options.bounds, log);
  followLayouts(mirror, options.shards, signal, (layouts) => conductor.relay(layouts));
  const turns = new Turns();
  log.info({ term: String(term.term), remaps: cluster.openRemaps().length }, "leading");
  return {
    term: term.term,
    cluster,
    conductor,
    remaps: new RemapDesk(cluster, conductor, ports, turns),
    inventory: new InventoryDesk(cluster, conductor, turns),
  };
}

/**
 * Layouts come from the same watch as the lease: whatever an earlier leader has ordered by, this one has read. Records that
 * can't be read are told of by whoever places shards.
 */
function followLayouts(
  mirror: Mirror,
  shards: number,
  signal: AbortSignal,
  onLayouts: (layouts: LayoutMap) => void,
): void {
  const epochs = new EpochMirror({ shards, onMalformed: () => undefined });
  const apply = (key: string, value: Uint8Array): void => {
    if (epochOfKey(key) !== undefined) epochs.apply(key, value);
  };
  for (const [key, value] of mirror.values) apply(key, value);
  onLayouts(epochs.current?.layouts ?? new Map());
  mirror.onChange(({ key, value }) => {
    if (value === undefined || epochOfKey(key) === undefined) return;
    apply(key, value);
    onLayouts(epochs.current?.layouts ?? new Map());
  }, signal);
}

/**
 * A write of an earlier leader that was under way when this one read the store: a request that was answered with "not
 * known", and may have been made again since. Left alone it would wait for the next leader, who would begin it.
 */
function isForeign({ key, value }: KvChange, writer: string): boolean {
  return value !== undefined && /^(remap|inventory|accepted)\./.test(key) && writerOf(key, value) !== writer;
}

/** Leads until the term ends; then nothing leaves any more. */
export async function lead(leader: Leader, term: Term, options: LeaderOptions): Promise<void> {
  const { signal } = term;
  try {
    const kept = new Set(leader.cluster.remaps.keys());
    const obsolete = obsoleteKeys(options.mirror.values, kept);
    void options.bucket
      .remove(obsolete, signal)
      .catch((error: unknown) => options.log.warn({ error }, "old keys stay for now"));
    for (;;) {
      await addFirstAddresses(options.firstAddresses, leader.cluster, leader.inventory);
      leader.conductor.observeAll();
      await sleep(tickMs, signal);
    }
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
  } finally {
    leader.conductor.stop();
    options.log.info({ term: String(leader.term), reason: String(signal.reason) }, "no longer leading");
  }
}
