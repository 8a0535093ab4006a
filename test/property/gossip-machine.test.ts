import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lanConfig } from "../../src/gossip/config.ts";
import type { Effect } from "../../src/gossip/effect.ts";
import { incarnationMax } from "../../src/gossip/member.ts";
import type { StreamMessage } from "../../src/gossip/message.ts";
import { encodeStreamMessage } from "../../src/gossip/stream-wire.ts";
import { Swim } from "../../src/gossip/swim.ts";
import { encodePacket } from "../../src/gossip/wire.ts";
import { profileOf, seeded } from "../unit/gossip/small-cluster.ts";
import { packetMessage, streamMessage } from "./gossip-messages.ts";

type Input =
  | { readonly kind: "packet"; readonly messages: Parameters<Swim["receive"]>[1] }
  | { readonly kind: "stream"; readonly message: StreamMessage }
  | { readonly kind: "answer"; readonly message: StreamMessage }
  | { readonly kind: "fail" }
  | { readonly kind: "load"; readonly load: number }
  | { readonly kind: "wait"; readonly ms: number };

const input: fc.Arbitrary<Input> = fc.oneof(
  fc.record({ kind: fc.constant("packet"), messages: fc.array(packetMessage, { maxLength: 6 }) }),
  fc.record({ kind: fc.constant("stream"), message: streamMessage }),
  fc.record({ kind: fc.constant("answer"), message: streamMessage }),
  fc.record({ kind: fc.constant("fail") }),
  fc.record({ kind: fc.constant("load"), load: fc.double({ min: -1, max: 2, noNaN: true }) }),
  fc.record({ kind: fc.constant("wait"), ms: fc.integer({ min: 0, max: 20_000 }) }),
);

/** Drives one machine, and sees that whatever it wants to send can be sent. */
class Driver {
  readonly machine: Swim;
  nowMs = 0;
  #dials: number[] = [];

  constructor(seed: number) {
    this.machine = new Swim({ config: lanConfig, self: profileOf(0), random: seeded(seed), seeds: ["10.7.7.7:7"] });
    this.#see(this.machine.start(0));
  }

  feed(given: Input): void {
    switch (given.kind) {
      case "packet":
        this.#see(this.machine.receive("10.1.1.1:1", given.messages, this.nowMs));
        return;
      case "stream":
        this.#seeAnswer(this.machine.receiveStream("10.1.1.1:1", given.message, this.nowMs));
        return;
      case "answer":
        this.#seeAnswer(this.machine.dialAnswered(this.#dials.shift() ?? 1, given.message, this.nowMs));
        return;
      case "fail":
        this.#see(this.machine.dialFailed(this.#dials.shift() ?? 1, this.nowMs));
        return;
      case "load":
        this.#see(this.machine.setLoad(given.load, this.nowMs));
        return;
      case "wait":
        this.#wait(given.ms);
        return;
      default:
        given satisfies never;
    }
  }

  #wait(ms: number): void {
    const endMs = this.nowMs + ms;
    for (let steps = 0; this.machine.nextDueMs <= endMs && steps < 10_000; steps++) {
      this.nowMs = Math.max(this.nowMs, this.machine.nextDueMs);
      this.#see(this.machine.tick(this.nowMs));
    }
    expect(this.machine.nextDueMs).toBeGreaterThan(endMs);
    this.nowMs = endMs;
  }

  #seeAnswer({ reply, effects }: ReturnType<Swim["receiveStream"]>): void {
    if (reply !== undefined) encodeStreamMessage(reply);
    this.#see(effects);
  }

  #see(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === "send") {
        expect(encodePacket(effect.messages).length).toBe(effect.bytes);
        expect(effect.bytes).toBeLessThanOrEqual(lanConfig.packetBytes);
      } else if (effect.kind === "dial") {
        encodeStreamMessage(effect.message);
        this.#dials.push(effect.id);
      }
    }
  }
}

describe("the machine, whatever it is told", () => {
  it("lives, keeps its timers ahead of the clock, and sends nothing that does not fit into a packet", () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(input, { maxLength: 60 }), (seed, inputs) => {
        const driver = new Driver(seed);
        for (const given of inputs) driver.feed(given);
        const { self } = driver.machine;
        expect(self.state).toBe("alive");
        expect(self.profile).toEqual(profileOf(0));
        const members = driver.machine.members();
        expect(driver.machine.liveCount).toBe(
          members.filter(({ state }) => state === "alive" || state === "suspect").length,
        );
        for (const { incarnation } of members) expect(incarnation).toBeLessThanOrEqual(incarnationMax);
      }),
      { numRuns: 300 },
    );
  });

  it("never lowers the incarnation of a member at the same address", () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(input, { maxLength: 60 }), (seed, inputs) => {
        const driver = new Driver(seed);
        let before = driver.machine.members();
        for (const given of inputs) {
          driver.feed(given);
          for (const { profile, incarnation } of before) {
            const now = driver.machine.member(profile.name);
            if (now?.profile.address === profile.address) expect(now.incarnation).toBeGreaterThanOrEqual(incarnation);
          }
          before = driver.machine.members();
        }
      }),
      { numRuns: 200 },
    );
  });
});
