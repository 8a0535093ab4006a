/** The scenarios of placement by name: what happens to a cluster, and what must have come of it. */
import type { Random } from "../random.ts";
import type { Checks } from "./checks.ts";
import type { SimulatedCluster, Wanted } from "./cluster.ts";
import { Content, type ContentOptions } from "./content.ts";

export interface Stage {
  readonly cluster: SimulatedCluster;
  readonly checks: Checks;
  readonly random: Random;
  readonly figure: (what: string, value: string) => void;
}

export interface PlacementScenario {
  readonly name: string;
  readonly about: string;
  readonly wanted: (random: Random) => Wanted;
  readonly play: (stage: Stage) => void;
}

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const shards = 32;
/** In half an hour: each turn takes twice as long as the one before. */
const turnsMax = 16;
const contentShards = 8;
/** Of a scenario whose changes are worth anything. */
const [settledMin, ownedMin, listedMin] = [20, 1_000, 1_000];
const hotShard = 7;
/** In two hours, of a shard's two copies: each time it moves, a member has fewer beside it. */
const hotMovesMax = 8;
const reliefMovesMax = 32;
const zones = ["north", "south", "east"];

/** Shards' costs differ threefold; together they are as much as `load` of each of five machines. */
function costs(random: Random, load: number): (shard: number) => number {
  const weights = Array.from({ length: shards }, () => 0.5 + random.next());
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return (shard) => ((weights[shard] ?? 0) / sum) * ((5 * load) / 1.5);
}

function usual(random: Random, loss = 0.02): Wanted {
  return { shards, loss, stray: 0.2, costOf: costs(random, 0.1 + 0.5 * random.next()) };
}

function join({ cluster, checks }: Stage, numbers: readonly number[]): void {
  checks.cause();
  for (const number of numbers) cluster.join(`m${number}`, zones[number % zones.length] ?? "");
}

function pass({ cluster }: Stage, ms: number): void {
  cluster.runUntil(cluster.nowMs + ms);
}

function copiesOf({ cluster }: Stage, name: string): number {
  return (cluster.current?.holders ?? []).filter((it) => [it.primary.name, it.standby?.name].includes(name)).length;
}

export const placementScenarios: readonly PlacementScenario[] = [
  {
    name: "steady",
    about: "five members whose loads stray by a fifth: nothing moves for an hour",
    wanted: (random) => usual(random),
    play: (stage) => {
      join(stage, [1, 2, 3, 4, 5]);
      pass(stage, 15 * minuteMs);
      const sinceMs = stage.cluster.nowMs;
      pass(stage, hourMs);
      stage.checks.movedNothingSince(sinceMs, "loads only stray");
      stage.checks.isWhole();
    },
  },
  {
    name: "busy",
    about: "one member gets three times the load of the others: it gives shards away within 3 minutes, and rests",
    wanted: (random) => ({ ...usual(random), costOf: costs(random, 0.16 + 0.1 * random.next()) }),
    play: (stage) => {
      const { cluster, checks, figure } = stage;
      join(stage, [1, 2, 3, 4, 5]);
      pass(stage, 15 * minuteMs);
      const busy = cluster.members.get("m2");
      if (busy === undefined) throw new Error("there is no m2");
      const others = cluster.alive.filter((it) => it !== busy).map((it) => cluster.loadOf(it));
      const mean = others.reduce((sum, load) => sum + load, 0) / others.length;
      busy.otherWork = 3 * mean - cluster.loadOf(busy);
      checks.cause();
      const [sinceMs, before] = [cluster.nowMs, copiesOf(stage, "m2")];
      while (copiesOf(stage, "m2") >= before && cluster.nowMs - sinceMs < 10 * minuteMs) pass(stage, secondMs);
      const gaveAfterMs = cluster.nowMs - sinceMs;
      figure("gave shards away after", `${gaveAfterMs / secondMs} s`);
      if (gaveAfterMs > 3 * minuteMs) checks.fail(`m2 gave nothing away within ${gaveAfterMs / secondMs} s`);
      pass(stage, 30 * minuteMs);
      figure("copies of the busy member", `${before} before, ${copiesOf(stage, "m2")} after`);
      const restedMs = cluster.nowMs;
      pass(stage, hourMs);
      checks.movedNothingSince(restedMs, "the busy member is relieved");
      busy.otherWork = 0;
      checks.cause();
      pass(stage, 40 * minuteMs);
      figure("copies when it is idle again", String(copiesOf(stage, "m2")));
      checks.isWithinBounds();
      checks.isWhole();
    },
  },
  {
    name: "hot-shard",
    about: "one shard costs half a machine: it comes to rest, for who is relieved in vain is so ever less often",
    wanted: (random) => {
      const { costOf, ...rest } = usual(random);
      return { ...rest, costOf: (shard) => (shard === hotShard ? 0.5 : costOf(shard) / 2) };
    },
    play: (stage) => {
      const { cluster, checks, figure } = stage;
      join(stage, [1, 2, 3, 4, 5]);
      // Members come within seconds of each other, are filled, and show their loads only then: ten minutes to settle.
      pass(stage, 5 * minuteMs);
      checks.cause();
      pass(stage, 2 * hourMs);
      const moves = cluster.epochs.flatMap((epoch) => epoch.moves);
      const hot = moves.filter(({ shard, reason }) => shard === hotShard && reason.kind !== "first").length;
      const relieving = moves.filter(({ reason }) => reason.kind === "over-loaded").length;
      figure("moves of the hot shard, and for loads", `${hot}, ${relieving}`);
      if (hot > hotMovesMax || relieving > reliefMovesMax)
        checks.fail(`${hot} moves of the hot shard, and ${relieving} for loads, in two hours`);
      checks.isWhole();
    },
  },
  {
    name: "growth",
    about: "one member, three, five, then two: some leave, some crash",
    wanted: (random) => usual(random),
    play: (stage) => grow(stage),
  },
  {
    name: "lossy",
    about: "the same while every third message is lost",
    wanted: (random) => usual(random, 0.33),
    play: (stage) => grow(stage),
  },
  {
    name: "restarts",
    about: "one member after the other ends and is back within half a minute: no shard moves",
    wanted: (random) => usual(random),
    play: (stage) => {
      const { cluster, checks, random } = stage;
      join(stage, [1, 2, 3, 4, 5]);
      pass(stage, 15 * minuteMs);
      const sinceMs = cluster.nowMs;
      for (const name of [...cluster.members.keys()]) {
        cluster.restart(name, (2 + 22 * random.next()) * secondMs);
        pass(stage, 2 * minuteMs);
      }
      checks.movedNothingSince(sinceMs, "whoever left was back at once");
      checks.isWhole();
    },
  },
  {
    name: "parted",
    about: "gossip is parted for half an hour, and both halves can write epochs: they don't take turns at it",
    wanted: (random) => usual(random),
    play: (stage) => {
      const { cluster, checks, figure } = stage;
      join(stage, [1, 2, 3, 4]);
      pass(stage, 15 * minuteMs);
      const before = cluster.epochs.length;
      checks.cause();
      cluster.part((name) => (["m1", "m2"].includes(name) ? 1 : 2));
      for (let minute = 0; minute < 30; minute++) {
        checks.cause();
        pass(stage, minuteMs);
      }
      const authors = cluster.epochs.slice(before).map(({ by }) => cluster.members.get(by)?.island);
      const turns = authors.filter((island, index) => index > 0 && island !== authors[index - 1]).length;
      figure("epochs while parted", `${authors.length}, ${turns} times the other half's`);
      if (turns > turnsMax) checks.fail(`the halves took turns ${turns} times in half an hour`);
      checks.cause();
      cluster.part(() => 0);
      pass(stage, 40 * minuteMs);
      checks.isWhole();
      checks.isWithinBounds();
    },
  },
  {
    name: "content",
    about: "live flow events, lost messages, 1 to 5 to 2 members, two crash at once: copies equal an oracle at the end",
    wanted: (random) => ({ ...usual(random, 0.1), shards: contentShards }),
    play: (stage) => void playContent(stage, {}),
  },
  {
    name: "buckets",
    about: "the same, while addresses get other numbers of buckets and instances start again: copies equal the oracle",
    wanted: (random) => ({ ...usual(random, 0.1), shards: contentShards }),
    play: (stage) => {
      const { buckets } = playContent(stage, { changesBuckets: true });
      if (buckets.settled < settledMin)
        stage.checks.fail(`only ${buckets.settled} changes of buckets came to their end`);
      for (const [address, { before }] of buckets.layouts)
        if (before !== undefined) stage.checks.fail(`${address} does not settle`);
      stage.figure("changes of buckets", String(buckets.settled));
    },
  },
  {
    name: "questions",
    about:
      "the same, with a stream that loses nothing: of no flow that lives is said that it has ended, or that there is none, and none is left out of a list",
    wanted: (random) => ({ ...usual(random, 0.1), shards: contentShards }),
    play: (stage) => {
      const { buckets, questions, listings } = playContent(stage, { changesBuckets: true, lossOfEvents: 0 });
      for (const fault of [...questions.faults, ...listings.faults]) stage.checks.fail(fault);
      const { owned, unknown } = questions.answered;
      if (owned < ownedMin) stage.checks.fail(`only ${owned} questions were answered`);
      stage.figure("changes of buckets", String(buckets.settled));
      if (listings.whileMoving < listedMin)
        stage.checks.fail(`only ${listings.whileMoving} lists were made while flows moved`);
      stage.figure("lists while flows moved", String(listings.whileMoving));
      stage.figure("answers: owned, unknown", `${owned}, ${unknown}`);
    },
  },
];

/** Members come, crash and go, while flows come and go. */
function playContent(stage: Stage, options: Partial<ContentOptions>): Content {
  const { cluster, checks, random, figure } = stage;
  const content = new Content(cluster, contentShards, random.fork(1), options);
  cluster.copies = content;
  join(stage, [1]);
  pass(stage, 2 * minuteMs);
  join(stage, [2, 3]);
  pass(stage, 4 * minuteMs);
  join(stage, [4, 5]);
  pass(stage, 4 * minuteMs);
  const [first, second, third] = random.sample(5, 3).map((number) => `m${number + 1}`);
  checks.cause();
  for (const name of [first, second]) cluster.end(name ?? "", "crash");
  pass(stage, 4 * minuteMs);
  checks.cause();
  const leaving = cluster.members.get(third ?? "");
  if (leaving !== undefined) leaving.hosting = "draining";
  pass(stage, 4 * minuteMs);
  cluster.end(third ?? "", "leave");
  checks.cause();
  pass(stage, 4 * minuteMs);
  content.quiet();
  pass(stage, 3 * minuteMs);
  checks.isWhole();
  for (const fault of content.faults()) checks.fail(fault);
  figure("flows at the end", String(content.flows));
  figure("messages, of which were lost", `${content.published}, ${content.lost}`);
  figure("copies made from another, built anew", `${content.handedOver}, ${content.rebuilt}`);
  return content;
}

function grow(stage: Stage): void {
  const { cluster, checks, random } = stage;
  const rest = (): void => {
    pass(stage, 12 * minuteMs);
    checks.isWhole();
    checks.isWithinBounds();
  };
  join(stage, [1]);
  rest();
  join(stage, [2, 3]);
  rest();
  join(stage, [4, 5]);
  rest();
  for (const number of random.sample(5, 3)) {
    const name = `m${number + 1}`;
    checks.cause();
    if (random.chance(0.5)) cluster.end(name, "crash");
    else {
      const member = cluster.members.get(name);
      if (member !== undefined) member.hosting = "draining";
      pass(stage, 12 * minuteMs);
      if (copiesOf(stage, name) > 0) checks.fail(`${name} is to stop, and has ${copiesOf(stage, name)} copies still`);
      cluster.end(name, "leave");
    }
    checks.cause();
    rest();
  }
}
