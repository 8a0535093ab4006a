/** What baton is asked in vain: the exit code, the words, and that nothing was begun (SPEC B1, R1). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outsideEndpoints } from "../../services/lab/config-files.ts";
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import { hostOf, setCut } from "../../services/lab/lab.ts";
import { Coordinators } from "../../src/rpc/coordinators.ts";
import { type KernelState, kernelState } from "./kernel-state.ts";
import { LabFixture, publicAddress } from "./lab-fixture.ts";

const wrongUsage = 2;
const refused = 3;
const unreachable = 4;

/** Mapped to vm-b by the test itself, so that vm-b has no private address left. */
const filler = "203.0.113.12";
const hosts = ["vm-a", "vm-b", "gw1"] as const;
const suiteMs = 240_000;

interface Case {
  readonly what: string;
  readonly args: readonly string[];
  readonly code: number;
  /** All must stand in what is said on standard error. */
  readonly says: readonly string[];
}

const refusals: readonly Case[] = [
  {
    what: "a remap of an address that baton does not have",
    args: ["remap", "198.51.100.77", "--to", "vm-b"],
    code: refused,
    says: ["UNKNOWN_ADDRESS", "198.51.100.77 is not mapped", "baton addresses add"],
  },
  {
    what: "a remap to an instance that never connected",
    args: ["remap", publicAddress, "--to", "vm-z"],
    code: refused,
    says: ["UNKNOWN_INSTANCE", "vm-z", "known: vm-a, vm-b"],
  },
  {
    what: "a remap to a gateway",
    args: ["remap", publicAddress, "--to", "gw1"],
    code: refused,
    says: ["UNKNOWN_INSTANCE", "gw1"],
  },
  {
    what: "a remap to the instance that holds the address",
    args: ["remap", publicAddress, "--to", "vm-a"],
    code: refused,
    says: ["SOURCE_IS_TARGET", "vm-a holds 203.0.113.10 already"],
  },
  {
    what: "a remap to an instance without a free private address",
    args: ["remap", publicAddress, "--to", "vm-b"],
    code: refused,
    says: ["NO_FREE_PRIVATE", "10.77.0.12 by 203.0.113.11", `10.77.0.112 by ${filler}`],
  },
  {
    what: "the same, asked as a preview",
    args: ["remap", publicAddress, "--to", "vm-b", "--dry-run"],
    code: refused,
    says: [],
  },
  {
    what: "a linger longer than an hour",
    args: ["remap", publicAddress, "--to", "vm-b", "--linger", "2h"],
    code: wrongUsage,
    says: ["INVALID_ARGUMENT", "linger must be at most"],
  },
  {
    what: "an address that is none",
    args: ["remap", "203.0.113.999", "--to", "vm-b"],
    code: wrongUsage,
    says: ["203.0.113.999", "Expected an IP address", "--help"],
  },
  {
    what: "a name that can't be an instance's",
    args: ["remap", publicAddress, "--to", "no such name"],
    code: wrongUsage,
    says: ["INVALID_ARGUMENT", "target: expected a name", '"no such name"'],
  },
  { what: "a remap without a target", args: ["remap", publicAddress], code: wrongUsage, says: ["--to"] },
  {
    what: "a duration that is none",
    args: ["remap", publicAddress, "--to", "vm-b", "--deadline", "soon"],
    code: wrongUsage,
    says: ["--deadline", "Expected a duration like"],
  },
  {
    what: "a choice that is not offered",
    args: ["remap", publicAddress, "--to", "vm-b", "--on-deadline", "explode"],
    code: wrongUsage,
    says: ["explode", "cut, wait, keep"],
  },
  { what: "an unknown command", args: ["remmap"], code: wrongUsage, says: ["unknown command 'remmap'"] },
  {
    what: "an endpoint that is none",
    args: ["addresses", "--endpoint", "nowhere"],
    code: wrongUsage,
    says: ['"nowhere" is not an endpoint', "host:port"],
  },
  {
    what: "a coordinator that is not there",
    args: ["addresses", "--endpoint", "127.0.0.1:1"],
    code: unreachable,
    says: ["127.0.0.1:1", "next: check that a coordinator runs there"],
  },
  {
    what: "an address that is mapped already",
    args: ["addresses", "add", publicAddress, "--instance", "vm-b"],
    code: refused,
    says: ["ADDRESS_EXISTS", "mapped to vm-a already", "baton remap"],
  },
  {
    what: "an address that gateways don't translate",
    args: ["addresses", "add", "192.0.2.77", "--instance", "vm-a"],
    code: wrongUsage,
    says: ["INVALID_ARGUMENT", "public prefixes"],
  },
  {
    what: "an address for an instance that never connected",
    args: ["addresses", "add", "203.0.113.20", "--instance", "vm-z"],
    code: refused,
    says: ["UNKNOWN_INSTANCE", "vm-z"],
  },
  {
    what: "an address for an instance without a free private address",
    args: ["addresses", "add", "203.0.113.20", "--instance", "vm-b"],
    code: refused,
    says: ["NO_FREE_PRIVATE", "vm-b"],
  },
  {
    what: "a private address that is another's",
    args: ["addresses", "add", "203.0.113.20", "--instance", "vm-a", "--private", "10.77.0.11"],
    code: refused,
    says: ["PRIVATE_IN_USE", `in use by ${publicAddress}`],
  },
  {
    what: "a private address that the instance does not offer",
    args: ["addresses", "add", "203.0.113.20", "--instance", "vm-a", "--private", "10.77.0.250"],
    code: refused,
    says: ["UNKNOWN_PRIVATE", "it offers 10.77.0.11"],
  },
  {
    what: "the removal of an address that is not mapped",
    args: ["addresses", "rm", "203.0.113.20"],
    code: refused,
    says: ["UNKNOWN_ADDRESS", "203.0.113.20"],
  },
  {
    what: "the removal of an instance that holds an address",
    args: ["instances", "rm", "vm-a"],
    code: refused,
    says: ["ADDRESS_BUSY", publicAddress, "remap it first"],
  },
  {
    what: "the removal of an instance that never was",
    args: ["instances", "rm", "vm-z"],
    code: refused,
    says: ["UNKNOWN_INSTANCE", "vm-z"],
  },
  {
    what: "the removal of a gateway that serves",
    args: ["gateways", "rm", "gw1"],
    code: refused,
    says: ["WRONG_PHASE", "gw1 is connected: stop it first"],
  },
  {
    what: "the removal of a gateway that never was",
    args: ["gateways", "rm", "gw9"],
    code: refused,
    says: ["UNKNOWN_GATEWAY", "gw9"],
  },
  ...[["show"], ["watch"], ["abort"], ["cut"], ["release"], ["deadline", "1h"]].map(([verb = "", ...more]) => ({
    what: `remaps ${verb} of a remap that never was`,
    args: ["remaps", verb, "r0-none", ...more],
    code: refused,
    says: ["UNKNOWN_REMAP", "r0-none", "baton remaps list"],
  })),
];

interface ClusterState {
  readonly addresses: unknown;
  readonly instances: unknown;
  readonly gateways: unknown;
  readonly remaps: unknown;
  readonly kernels: readonly KernelState[];
}

describe("a request in vain", () => {
  let fixture: LabFixture;
  /** Asked after every case for all there is: by the command line that would be four processes each time. */
  let coordinators: Coordinators;
  let before: ClusterState;

  beforeAll(async () => {
    fixture = await LabFixture.start("refusals");
    const endpoints = outsideEndpoints(fixture.lab.plan, fixture.lab.directory);
    coordinators = new Coordinators(endpoints, "test", AbortSignal.timeout(suiteMs));
    expect(await fixture.baton("addresses", "add", filler, "--instance", "vm-b")).toMatchObject({ code: 0 });
    before = await clusterState();
  });

  afterAll(async () => {
    coordinators?.[Symbol.dispose]();
    await fixture?.[Symbol.asyncDispose]();
  });

  it.each(refusals)("$what: exit code $code, its cause named, nothing changed", async ({ args, code, says }) => {
    const result = await fixture.baton(...args);
    expect(result.code, result.stderr).toBe(code);
    for (const words of says) expect(result.stderr).toContain(words);
    expect(result.stderr).not.toMatch(/^\s+at /m);
    expect(await clusterState()).toEqual(before);
  });

  it("a second remap before the first one's flip: refused with the first one's id, and the first goes on", async () => {
    expect(await fixture.baton("addresses", "rm", filler)).toMatchObject({ code: 0 });
    const [a, b] = [hostOf(fixture.lab, "vm-a"), hostOf(fixture.lab, "vm-b")];
    await setCut(fixture.lab, a, b, true);
    const first = await fixture.remap("vm-b", "no");
    await fixture.follow(first.id, ({ phase, waitingFor }) => phase === "preparing" && waitingFor.length > 0);
    for (const args of [
      ["remap", publicAddress, "--to", "vm-b", "--yes"],
      ["addresses", "rm", publicAddress],
    ]) {
      const result = await fixture.baton(...args);
      expect(result.code).toBe(refused);
      expect(result.stderr).toMatch(/REMAP_IN_PROGRESS|ADDRESS_BUSY/);
      expect(result.stderr).toContain(first.id);
    }
    const listed = (await fixture.baton("remaps", "list")).json.flat() as RemapJson[];
    expect(listed.map(({ id, phase }) => ({ id, phase }))).toEqual([{ id: first.id, phase: "preparing" }]);
    await setCut(fixture.lab, a, b, false);
    const done = await fixture.follow(first.id, ({ phase }) => phase === "completed");
    expect(done).toMatchObject({ outcome: "completed", target: "vm-b" });
  });

  it.each([
    ["abort", "WRONG_PHASE"],
    ["cut", "WRONG_PHASE"],
    ["release", "WRONG_PHASE"],
  ])("remaps %s after the end: refused, and the report stays as it was", async (verb, code) => {
    const [ended] = (await fixture.baton("remaps", "list")).json.flat() as RemapJson[];
    const result = await fixture.baton("remaps", verb, ended?.id ?? "");
    expect(result.code).toBe(refused);
    expect(result.stderr).toContain(code);
    expect(await fixture.show(ended?.id ?? "")).toEqual(ended);
  });

  async function clusterState(): Promise<ClusterState> {
    const [addresses, instances, gateways, remaps] = await Promise.all([
      coordinators.listAddresses(),
      coordinators.listInstances(),
      coordinators.listGateways(),
      coordinators.listRemaps({ openOnly: false }),
    ]);
    const kernels = await Promise.all(hosts.map((host) => kernelState(fixture, host)));
    return {
      addresses,
      instances: instances.map(withoutLastSeen),
      gateways: gateways.map(withoutLastSeen),
      remaps,
      kernels,
    };
  }
});

function withoutLastSeen<T extends { readonly lastSeenMs?: number }>({ lastSeenMs: _, ...view }: T) {
  return view;
}
