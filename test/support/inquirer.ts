/** Asks all the time for flows of which it is known what must be answered, and keeps what was answered wrongly. */

import type { FlowAnswer } from "../../src/flow/answer.ts";
import { type FlowKey, flowKeyText } from "../../src/flow/flow.ts";
import type { ShardPosition } from "../../src/node/state.ts";
import { shardOf } from "../../src/placement/shard.ts";
import type { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { sleep } from "../../src/runtime/retry.ts";
import type { Traffic } from "./flow-traffic.ts";

const keysPerKind = 50;
const everyMs = 20;
/** A barrier costs a message of every address. */
const barrierEveryMs = 1_000;
const wrongMax = 20;

/** What was there for good, and what had ended, when the barrier was made: whoever is as far must know. */
interface Known {
  readonly lasting: number;
  readonly ended: number;
  readonly atLeast: readonly ShardPosition[];
}

export class Inquirer {
  readonly tookMs: number[] = [];
  /** Flows that are there and were called absent or ended, or another's; flows that had ended and were called open. */
  readonly wrong: string[] = [];
  readonly kinds = new Map<FlowAnswer["kind"], number>();
  readonly #client: TrackerClient;
  readonly #traffic: Traffic;
  readonly #shards: number;
  /** The oldest first. */
  readonly #known: Known[] = [];

  constructor(client: TrackerClient, traffic: Traffic, shards: number) {
    this.#client = client;
    this.#traffic = traffic;
    this.#shards = shards;
  }

  get p99Ms(): number {
    const sorted = this.tookMs.toSorted((a, b) => a - b);
    return sorted[Math.floor(0.99 * sorted.length)] ?? Number.POSITIVE_INFINITY;
  }

  /** Of all answers. */
  shareOf(kind: FlowAnswer["kind"]): number {
    const all = [...this.kinds.values()].reduce((sum, count) => sum + count, 0);
    return (this.kinds.get(kind) ?? 0) / all;
  }

  async run(stop: AbortSignal, signal: AbortSignal): Promise<void> {
    let learntMs = Number.NEGATIVE_INFINITY;
    while (!stop.aborted) {
      if (performance.now() - learntMs > barrierEveryMs) {
        await this.#learn(signal);
        learntMs = performance.now();
      }
      await this.#ask(signal);
      await sleep(everyMs, stop).catch(() => undefined);
    }
  }

  async #learn(signal: AbortSignal): Promise<void> {
    const { lasting, ended } = this.#traffic;
    const known = { lasting: lasting.length, ended: ended.length };
    this.#known.push({ ...known, atLeast: await this.#traffic.barrier(signal) });
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { lasting, ended, atLeast } = this.#known.at(-1) ?? { lasting: 0, ended: 0, atLeast: [] };
    const [open, over] = [some(lasting), some(ended)];
    const keysOf = (keys: readonly FlowKey[], indices: readonly number[]) =>
      indices.flatMap((index) => keys[index] ?? []);
    const beganMs = performance.now();
    const [ofOpen, ofOver] = await Promise.all([
      this.#client.lookup(keysOf(this.#traffic.lasting, open), [], { signal }),
      this.#client.lookup(keysOf(this.#traffic.ended, over), atLeast, { signal }),
    ]);
    this.tookMs.push(performance.now() - beganMs);
    for (const [place, answer] of ofOpen.entries()) this.#judgeOpen(open[place] ?? 0, answer);
    for (const [place, answer] of ofOver.entries()) this.#judgeEnded(over[place] ?? 0, answer);
  }

  #judgeOpen(index: number, answer: FlowAnswer): void {
    this.#count(answer);
    if (answer.kind === "unknown") return;
    if (answer.kind === "owned" && answer.flow.owner === this.#traffic.instance) return;
    const [key, toldIn] = [this.#traffic.lasting[index], this.#known.find(({ lasting }) => lasting > index)];
    if (key === undefined || toldIn === undefined) throw new Error("a flow was asked for that nobody has told of");
    const shard = shardOf(key.address, this.#shards);
    const position = toldIn.atLeast.find((it) => it.shard === shard)?.sequence ?? 0n;
    // Of a younger flow it is no evidence.
    if (answer.kind === "absent" && answer.appliedSequence < position) return;
    this.#isWrong(`${flowKeyText(key)} is there since ${position}: ${textOf(answer)}`);
  }

  #judgeEnded(index: number, answer: FlowAnswer): void {
    this.#count(answer);
    const key = this.#traffic.ended[index];
    if (answer.kind === "owned" && key !== undefined) this.#isWrong(`${flowKeyText(key)} has ended: ${textOf(answer)}`);
  }

  #count({ kind }: FlowAnswer): void {
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
  }

  #isWrong(what: string): void {
    if (this.wrong.length < wrongMax) this.wrong.push(what);
  }
}

function textOf(answer: FlowAnswer): string {
  if (answer.kind === "owned") return `of ${answer.flow.owner}`;
  return answer.kind === "unknown" ? answer.kind : `${answer.kind} at ${answer.appliedSequence}`;
}

/** Some of the indices below `count`, at random. */
function some(count: number): number[] {
  const drawn = Array.from({ length: Math.min(count, keysPerKind) }, () => Math.floor(Math.random() * count));
  return [...new Set(drawn)];
}
