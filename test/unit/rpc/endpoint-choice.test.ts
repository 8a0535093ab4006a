import { expect, test } from "vitest";
import { EndpointChoice } from "../../../src/rpc/endpoint-choice.ts";

const endpoints = ["c1:1", "c2:1", "c3:1"];
const lost = { kind: "lost", served: false } as const;

test("nodes begin at different coordinators", () => {
  const starts = [0, 0.4, 0.9].map((random) => new EndpointChoice(endpoints, () => random).first());
  expect(starts).toEqual(endpoints.map((endpoint) => ({ endpoint, waitMs: 0 })));
});

test("all coordinators are tried in turn, with longer and longer waits up to a bound", () => {
  const choice = new EndpointChoice(endpoints, () => 0.5);
  expect(choice.first().endpoint).toBe("c2:1");
  const tries = Array.from({ length: 8 }, () => choice.after(lost));
  expect(tries.map((next) => next.endpoint)).toEqual(["c3:1", "c1:1", "c2:1", "c3:1", "c1:1", "c2:1", "c3:1", "c1:1"]);
  expect(tries.map((next) => next.waitMs)).toEqual([50, 100, 200, 400, 800, 1000, 1000, 1000]);
});

test("waits are short again after a connection that served", () => {
  const choice = new EndpointChoice(endpoints, () => 0.5);
  for (let failure = 0; failure < 5; failure++) choice.after(lost);
  expect(choice.after({ kind: "lost", served: true }).waitMs).toBe(50);
});

test("the leader's hint is followed at once", () => {
  const choice = new EndpointChoice(endpoints, () => 0);
  expect(choice.after({ kind: "not-leader", leader: "c9:1" })).toEqual({ endpoint: "c9:1", waitMs: 0 });
});

test("two coordinators that name each other don't keep a node running between them", () => {
  const choice = new EndpointChoice(endpoints, () => 0.5);
  const waits = Array.from({ length: 8 }, () => choice.after({ kind: "not-leader", leader: "c9:1" }).waitMs);
  expect(waits).toEqual([0, 0, 0, 50, 0, 0, 0, 100]);
});

test("without a hint the next coordinator is asked, after a wait", () => {
  const choice = new EndpointChoice(endpoints, () => 0.5);
  expect(choice.after({ kind: "not-leader", leader: undefined })).toEqual({ endpoint: "c3:1", waitMs: 50 });
});
