/**
 * The life of one tracker's copy of one shard: where it is, and what comes next. Pure, and total: every event has an
 * answer in every phase.
 *
 *   joining   has nothing: it looks for a copy to take over, or waits for its turn
 *   tailing   has data and follows the stream, and has not caught up since it came or was restarted
 *   serving   caught up
 *   leaving   named by the newest epoch no more; answers until everyone who is named is serving
 *   gone      answers no more; its data are being deleted
 */

export const replicaPhases = ["joining", "tailing", "serving", "leaving", "gone"] as const;
export type ReplicaPhase = (typeof replicaPhases)[number];

export type ReplicaEvent =
  /** The newest epoch names this tracker. */
  | "named"
  | "unnamed"
  /** Data are here: copied, read from the disk, or none, to be built from the stream. */
  | "filled"
  /** Nothing of the stream is left to apply that would make a difference to who asks. */
  | "caught-up"
  /** Everyone whom the newest epoch names is serving. */
  | "relieved"
  /** The disk has lost what it had. */
  | "emptied";

const next: Readonly<Record<ReplicaPhase, Readonly<Record<ReplicaEvent, ReplicaPhase>>>> = {
  joining: {
    named: "joining",
    // What is half copied is worth nothing to anybody.
    unnamed: "gone",
    filled: "tailing",
    "caught-up": "joining",
    relieved: "joining",
    emptied: "joining",
  },
  tailing: {
    named: "tailing",
    unnamed: "leaving",
    filled: "tailing",
    "caught-up": "serving",
    relieved: "tailing",
    emptied: "joining",
  },
  serving: {
    named: "serving",
    unnamed: "leaving",
    // Read from the disk anew: the stream has gone on meanwhile.
    filled: "tailing",
    "caught-up": "serving",
    relieved: "serving",
    emptied: "joining",
  },
  leaving: {
    // It has followed the stream all the while; but whether it is caught up is for its lag to say.
    named: "tailing",
    unnamed: "leaving",
    filled: "leaving",
    "caught-up": "leaving",
    relieved: "gone",
    emptied: "gone",
  },
  // What has begun to be deleted is deleted; a copy that is named again begins a new life.
  gone: { named: "gone", unnamed: "gone", filled: "gone", "caught-up": "gone", relieved: "gone", emptied: "gone" },
};

export function nextPhase(phase: ReplicaPhase, event: ReplicaEvent): ReplicaPhase {
  return next[phase][event];
}

/** Messages of a shard that may be left to apply for a copy to count as caught up: a small part of a second's. */
export const caughtUpLagMax = 64;

/** `taken`: another's copy was taken over, so messages that are missing here are missing there as well. */
export function isCaughtUp(copy: {
  readonly lag: number | undefined;
  readonly complete: boolean;
  readonly taken: boolean;
}): boolean {
  return copy.lag !== undefined && copy.lag <= caughtUpLagMax && (copy.complete || copy.taken);
}
