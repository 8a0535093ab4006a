/** The simulator's own parts: what it says of the protocol is worth as much as these. */
import { describe, expect, test } from "vitest";
import { alive, Beliefs, dead, suspect, unknown } from "./beliefs.ts";
import { EventHeap } from "./event-heap.ts";
import { Measurements } from "./measurements.ts";
import { lan, Network } from "./network.ts";
import { Random } from "./random.ts";

describe("the event heap", () => {
  test("gives events in the order of their times, and those of one time in the order in which they were added", () => {
    const random = new Random(7);
    const heap = new EventHeap<{ atMs: number; order: number }>();
    const added = Array.from({ length: 3000 }, (_, order) => ({ atMs: random.below(100), order }));
    for (const event of added) heap.add(event.atMs, event);
    const taken = added.map(() => heap.take());
    expect(taken).toEqual(added.toSorted((a, b) => a.atMs - b.atMs || a.order - b.order));
    expect(heap.nextMs).toBeUndefined();
  });

  test("takes what is added between others", () => {
    const heap = new EventHeap<string>();
    heap.add(2, "second");
    heap.add(1, "first");
    expect(heap.take()).toBe("first");
    heap.add(1.5, "between");
    expect(heap.nextMs).toBe(1.5);
    expect([heap.take(), heap.take()]).toEqual(["between", "second"]);
  });
});

describe("chance", () => {
  test("is the same for the same seed, and another for another", () => {
    const draw = (seed: number): readonly number[] => {
      const random = new Random(seed);
      return Array.from({ length: 20 }, () => random.below(1_000_000));
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  test("spreads evenly, and exponential delays have the mean that was asked for", () => {
    const random = new Random(3);
    const draws = 100_000;
    const buckets = new Array<number>(10).fill(0);
    let delaySum = 0;
    for (let draw = 0; draw < draws; draw++) {
      const bucket = random.below(10);
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
      delaySum += random.exponential(5);
    }
    for (const count of buckets) expect(Math.abs(count - draws / 10)).toBeLessThan(draws / 100);
    expect(delaySum / draws).toBeCloseTo(5, 1);
  });

  test("samples without repetition", () => {
    const sample = new Random(5).sample(50, 20);
    expect(new Set(sample).size).toBe(20);
    expect(sample.every((value) => value >= 0 && value < 50)).toBe(true);
  });
});

describe("the network", () => {
  const newNetwork = (conditions = lan): Network => new Network(4, conditions, new Random(1));

  test("loses and duplicates the share that its conditions say", () => {
    const network = newNetwork({ ...lan, loss: 0.2, duplication: 0.1 });
    const copies = Array.from({ length: 20_000 }, () => network.datagram(0, 1, 0).length);
    const share = (count: number): number => copies.filter((copy) => copy === count).length / copies.length;
    expect(share(0)).toBeCloseTo(0.2, 2);
    expect(share(2)).toBeCloseTo(0.08, 2);
  });

  test("lets datagrams overtake each other", () => {
    const network = newNetwork();
    const arrivals = Array.from({ length: 100 }, (_, sent) => sent * 0.1 + (network.datagram(0, 1, 0)[0] ?? 0));
    expect(arrivals).not.toEqual(arrivals.toSorted((a, b) => a - b));
  });

  test("cuts one direction only, and a stream needs both", () => {
    const network = newNetwork();
    network.suffer({ kind: "cut", from: [0], to: [1] });
    expect(network.datagram(0, 1, 0)).toEqual([]);
    expect(network.datagram(1, 0, 0)).toHaveLength(1);
    expect(network.segment(1, 0, 0)).toBeUndefined();
  });

  test("keeps islands apart until they are healed", () => {
    const network = newNetwork();
    network.suffer({
      kind: "partition",
      islands: [
        [0, 1],
        [2, 3],
      ],
    });
    expect([network.reaches(0, 1), network.reaches(1, 2), network.reaches(3, 2)]).toEqual([true, false, true]);
    network.suffer({ kind: "heal" });
    expect(network.reaches(1, 2)).toBe(true);
  });

  test("blocks UDP and leaves TCP alone", () => {
    const network = newNetwork();
    network.blockUdp(2, true);
    expect(network.datagram(2, 0, 0)).toEqual([]);
    expect(network.datagram(0, 2, 0)).toEqual([]);
    expect(network.segment(0, 2, 0)).toBeGreaterThan(0);
  });
});

describe("beliefs", () => {
  function allAlive(nodes: number): Beliefs {
    const beliefs = new Beliefs(nodes);
    for (let holder = 0; holder < nodes; holder++)
      for (let subject = 0; subject < nodes; subject++) beliefs.believe(holder, subject, alive);
    return beliefs;
  }

  test("are wrong while a running process does not know the truth", () => {
    const beliefs = allAlive(3);
    expect(beliefs.wrong).toBe(0);
    beliefs.setTruths([2], "crashed");
    expect(beliefs.wrongAbout(2)).toBe(2);
    beliefs.believe(0, 2, dead);
    beliefs.believe(1, 2, suspect);
    expect(beliefs.wrong).toBe(1);
    expect(beliefs.wrongOnes(10)).toEqual([{ holder: 1, subject: 2 }]);
    beliefs.believe(1, 2, dead);
    expect(beliefs.wrong).toBe(0);
  });

  test("of a stopped process may be either, and its own don't count", () => {
    const beliefs = allAlive(3);
    beliefs.setTruths([2], "paused");
    beliefs.believe(0, 2, dead);
    beliefs.believe(2, 0, dead);
    expect(beliefs.wrong).toBe(0);
    beliefs.setTruths([2], "up");
    expect(beliefs.wrong).toBe(2);
  });

  test("of a left member must not be that it died, and who starts anew must learn everybody", () => {
    const beliefs = allAlive(3);
    beliefs.setTruths([2], "left");
    beliefs.believe(0, 2, dead);
    expect(beliefs.wrong).toBe(2);
    beliefs.forget(1);
    expect(beliefs.beliefOf(1, 0)).toBe(unknown);
    expect(beliefs.wrongAbout(0)).toBe(1);
  });

  test("become measurements: a crash from its first suspicion to the last who hears of it", () => {
    const beliefs = allAlive(3);
    const measurements = new Measurements(beliefs);
    measurements.touch([2]);
    measurements.crashed([2], 100);
    beliefs.setTruths([2], "crashed");
    measurements.believed(0, 2, suspect, 200);
    measurements.believed(0, 2, dead, 300);
    measurements.believed(1, 2, dead, 350);
    expect(measurements.crashes).toEqual([
      { node: 2, atMs: 100, suspectedMs: 200, confirmedMs: 300, everywhereMs: 350 },
    ]);
    measurements.believed(0, 1, dead, 400);
    expect(measurements.falsePositives).toBe(1);
    expect(measurements.deathsOfLiving).toEqual([{ atMs: 400, holder: 0, subject: 1, isHealthy: true }]);
    expect(measurements.convergedSinceMs).toBeUndefined();
  });
});
