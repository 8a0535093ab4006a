/**
 * Whose a flow is, asked as clients ask: of any holder, of one shard after the other, and by a layout that may be one change
 * behind. A flow that lives from the first question to the last answer must never be said to have ended, or not to be.
 */
import { type FlowKey, flowKeyText } from "../../../src/flow/flow.ts";
import { type Layout, layoutOf, shardsToAsk } from "../../../src/placement/layout.ts";
import type { ShardTable } from "../../../src/tracker/table.ts";
import type { Random } from "../random.ts";

/** Ticks between the questions to two shards, at most. */
const betweenMax = 6;
const askedEachTick = 4;
const faultsMax = 10;

/** A copy that answers. */
export interface Asked {
  readonly table: ShardTable;
  /** It lacks nothing that was ever said. */
  readonly isUpToDate: boolean;
}

type Answer = "owned" | "closed" | "absent" | "unknown";

interface Question {
  readonly key: FlowKey;
  readonly layout: Layout;
  readonly open: readonly number[];
  readonly answers: readonly Answer[];
  readonly dueTick: number;
}

export interface QuestionParts {
  readonly shards: number;
  readonly random: Random;
  readonly holderOf: (shard: number) => Asked | undefined;
}

export class Questions {
  readonly faults: string[] = [];
  readonly answered = { owned: 0, closed: 0, absent: 0, unknown: 0 };
  readonly #parts: QuestionParts;
  #open: readonly Question[] = [];

  constructor(parts: QuestionParts) {
    this.#parts = parts;
  }

  tick(
    tick: number,
    oracle: ReadonlyMap<string, FlowKey>,
    layoutsKnown: readonly ReadonlyMap<FlowKey["address"], Layout>[],
  ) {
    const { random, shards } = this.#parts;
    const living = [...oracle.values()];
    for (let n = 0; n < askedEachTick && living.length > 0; n++) {
      const key = living[random.below(living.length)] as FlowKey;
      const layout = layoutOf(layoutsKnown[random.below(layoutsKnown.length)], key.address);
      const asked = shardsToAsk(key, layout, shards);
      const open = random.chance(0.5) ? asked : asked.toReversed();
      this.#open = [...this.#open, { key, layout, open, answers: [], dueTick: tick }];
    }
    // Flows that end while they are asked for prove nothing.
    this.#open = this.#open.filter(({ key }) => oracle.has(flowKeyText(key))).flatMap((it) => this.#proceed(it, tick));
  }

  #proceed(question: Question, tick: number): readonly Question[] {
    const [shard, ...open] = question.open;
    if (question.dueTick > tick) return [question];
    if (shard === undefined) {
      this.#judge(question);
      return [];
    }
    const answers = [...question.answers, this.#ask(question.key, shard)];
    return [{ ...question, open, answers, dueTick: tick + this.#parts.random.below(betweenMax) }];
  }

  #ask(key: FlowKey, shard: number): Answer {
    const asked = this.#parts.holderOf(shard);
    if (asked === undefined) return "unknown";
    const { kind } = asked.table.find(key);
    if (kind === "owned") return kind;
    return kind === "elsewhere" || !asked.isUpToDate ? "unknown" : kind;
  }

  #judge({ key, layout, answers }: Question): void {
    const combined = combine(answers);
    this.answered[combined]++;
    if (combined === "owned" || combined === "unknown" || this.faults.length >= faultsMax) return;
    this.faults.push(`${flowKeyText(key)}, which lives, is ${combined} by layout ${JSON.stringify(layout)}`);
  }
}

/** As the client does: of a flow that may be in either shard, neither can say that it is not. */
function combine(answers: readonly Answer[]): Answer {
  if (answers.includes("owned")) return "owned";
  return answers.length === 1 ? (answers[0] as Answer) : "unknown";
}
