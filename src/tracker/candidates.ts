/**
 * Who may hold shards: trackers that gossip tells of, with what they say of their copies when they are asked.
 *
 * Gossip tells who lives, where, how large and how busy. Which copies lack nothing, trackers tell by gRPC; so does whether
 * a holder that gossip does not know, or takes for dead, answers nevertheless: then it keeps what it has.
 */
import type { ClusterMember, Membership } from "../cluster/membership.ts";
import { type Assignment, holdersOf, type Tracker } from "../placement/assignment.ts";
import type { Candidate, Candidates } from "../placement/candidate.ts";
import type { EpochLog } from "../placement/epoch-log.ts";
import { endpointField, nameField } from "../rpc/config-fields.ts";
import { isAbort, sleep } from "../runtime/retry.ts";
import { isCaughtUp } from "./life.ts";
import type { PeerReport, Peers } from "./peers.ts";

export interface TrackerCandidatesOptions {
  readonly membership: Membership;
  readonly epochs: EpochLog;
  readonly peers: Peers;
}

/** An epoch's record has no room for more. */
export const candidatesMax = 64;
/** Between two rounds of asking trackers for their copies. */
const askMs = 2_000;
const bytesPerMiB = 1_048_576;
/** A member that does not say how large it is counts as the size that all others are measured by. */
const unstated = { cpus: 1, memoryMiB: 2_048 };

export class TrackerCandidates implements Candidates {
  readonly #options: TrackerCandidatesOptions;
  readonly #listeners = new Set<() => void>();
  #reports: ReadonlyMap<string, PeerReport> = new Map();

  constructor(options: TrackerCandidatesOptions) {
    this.#options = options;
  }

  now(): readonly Candidate[] {
    const { membership, epochs } = this.#options;
    return candidatesOf(membership.members(), epochs.current, this.#reports);
  }

  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Hears of members and asks trackers until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await Promise.all([this.#hear(signal), this.#ask(signal)]);
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  async #hear(signal: AbortSignal): Promise<void> {
    // Loads are many, and are read again every few seconds anyway.
    for await (const { kind } of this.#options.membership.changes(signal)) if (kind !== "load") this.#tell();
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { membership, epochs, peers } = this.#options;
    for (;;) {
      const asked = trackersToAsk(membership.members(), epochs.current);
      const reports = await Promise.all(asked.map(({ endpoint }) => peers.report(endpoint, [], signal)));
      const told = new Map(
        reports.flatMap((report, index) =>
          report !== undefined && report.name === asked[index]?.name ? [[report.name, report] as const] : [],
        ),
      );
      const isNews = textOf(told) !== textOf(this.#reports);
      this.#reports = told;
      if (isNews) this.#tell();
      await sleep(askMs, signal);
    }
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** `reports`: of those who have answered last, by name. */
export function candidatesOf(
  members: readonly ClusterMember[],
  current: Assignment | undefined,
  reports: ReadonlyMap<string, PeerReport>,
): readonly Candidate[] {
  const holders = new Set(namedBy(current).map(({ name }) => name));
  const gossiping = members.flatMap((member): Candidate[] => {
    const { name, state, load, roles, labels, hosting, characteristics = unstated } = member;
    const tracker = trackerOf(member);
    if (tracker === undefined || state === "dead" || (state === "left" && !holders.has(name))) return [];
    const report = reports.get(name);
    const besideAgent = roles.includes("agent");
    return [
      {
        ...tracker,
        state,
        load,
        cpus: characteristics.cpus,
        memoryBytes: characteristics.memoryMiB * bytesPerMiB,
        ...(labels["zone"] !== undefined && { zone: labels["zone"] }),
        hosting,
        besideAgent,
        // An agent lives whether its tracker runs or not: of one that does not answer nothing is concluded from time.
        ...(report !== undefined ? { caughtUp: caughtUpIn(report) } : besideAgent && { caughtUp: [] }),
      },
    ];
  });
  // Where gossip knows no tracker, it says nothing about who is gone either.
  if (gossiping.every(({ state }) => state === "left")) return [];
  const told = new Set(gossiping.map(({ name }) => name));
  const answering = namedBy(current).flatMap((tracker): Candidate[] => {
    const report = reports.get(tracker.name);
    if (report === undefined || told.has(tracker.name)) return [];
    const size = { cpus: unstated.cpus, memoryBytes: unstated.memoryMiB * bytesPerMiB };
    return [{ ...tracker, ...size, state: "suspect", load: 0, hosting: "closed", caughtUp: caughtUpIn(report) }];
  });
  return storable([...gossiping, ...answering], holders);
}

/** What an epoch's record can name: so many, no endpoint twice. Who holds shards goes before who does not. */
function storable(candidates: readonly Candidate[], holders: ReadonlySet<string>): readonly Candidate[] {
  const rank = ({ name }: Candidate): string => `${holders.has(name) ? 0 : 1}${name}`;
  const byEndpoint = new Map<string, Candidate>();
  for (const candidate of candidates.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1)))
    if (!byEndpoint.has(candidate.endpoint)) byEndpoint.set(candidate.endpoint, candidate);
  return [...byEndpoint.values()].slice(0, candidatesMax);
}

function trackersToAsk(members: readonly ClusterMember[], current: Assignment | undefined): readonly Tracker[] {
  const living = livingTrackers(members);
  const byName = new Map([...namedBy(current), ...living].map((tracker) => [tracker.name, tracker]));
  return [...byName.values()].slice(0, 2 * candidatesMax);
}

/** That gossip tells of: also agents that would host one, whose tracker runs once an epoch names it. */
export function livingTrackers(members: readonly ClusterMember[]): readonly (Tracker & ClusterMember)[] {
  return members
    .filter(({ state }) => state === "alive" || state === "suspect")
    .flatMap((member) => {
      const tracker = trackerOf(member);
      return tracker === undefined ? [] : [{ ...member, ...tracker }];
    });
}

/** Undefined: it is none, or says of itself what no epoch could name. */
function trackerOf({ name, roles, services }: ClusterMember): Tracker | undefined {
  const endpoint = services["grpc"];
  if (!roles.includes("tracker") || endpoint === undefined) return undefined;
  if (!nameField.safeParse(name).success || !endpointField.safeParse(endpoint).success) return undefined;
  return { name, endpoint };
}

function namedBy(current: Assignment | undefined): readonly Tracker[] {
  if (current === undefined) return [];
  const named = [...current.holders.keys()].flatMap((shard) => holdersOf(current, shard));
  return [...new Map(named.map((tracker) => [tracker.name, tracker])).values()];
}

function caughtUpIn({ replicas }: PeerReport): readonly number[] {
  return [...replicas].flatMap(([shard, { phase, lag, complete }]) => {
    const answers = phase === "serving" || phase === "leaving";
    return answers && isCaughtUp({ lag, complete, taken: false }) ? [shard] : [];
  });
}

function textOf(reports: ReadonlyMap<string, PeerReport>): string {
  return [...reports.values()].map((report) => `${report.name} ${caughtUpIn(report)}`).join("\n");
}
