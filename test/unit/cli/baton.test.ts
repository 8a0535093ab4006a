import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { remapToText } from "../../../src/remap/report.ts";
import { socketDirectory } from "../rpc/fake-remaps.ts";
import { abortedRemap, cutRemap, drainingRemap, freshRemap } from "../rpc/remap-samples.ts";
import { baton, launcher, start } from "./baton.ts";
import {
  type CreateRemapRequest,
  type FakeCluster,
  flow,
  type ListFlowsRequest,
  preview,
  type ServedCluster,
  serveCluster,
} from "./fake-cluster.ts";

const address = "203.0.113.10";
/** Begins every control sequence of a terminal. */
const escapeCode = "\u001b";

interface Stage extends AsyncDisposable {
  readonly cluster: ServedCluster;
  readonly env: { readonly BATON_ENDPOINT: string };
}

async function stage(fake: FakeCluster = {}): Promise<Stage> {
  const directory = socketDirectory();
  const endpoint = directory.endpoint("c.sock");
  const cluster = await serveCluster(endpoint, fake);
  return {
    cluster,
    env: { BATON_ENDPOINT: endpoint },
    async [Symbol.asyncDispose]() {
      await cluster[Symbol.asyncDispose]();
      directory[Symbol.dispose]();
    },
  };
}

const lines = (text: string) => text.split("\n").filter((line) => line !== "");

describe("lists", () => {
  it("are JSON on one line with --json, and tables without", async () => {
    await using on = await stage();
    const json = await baton(["addresses", "--json"], on.env);
    expect(json).toEqual({
      code: 0,
      err: "",
      out: '[{"address":"203.0.113.10","instance":"vm-a","private":"10.77.0.11","generation":1}]\n',
    });
    const table = await baton(["addresses", "list"], on.env);
    expect(table.out).toBe(
      "ADDRESS       INSTANCE  PRIVATE     GENERATION  REMAP\n203.0.113.10  vm-a      10.77.0.11           1\n",
    );
  });

  it("show instances, gateways, members, shards and remaps", async () => {
    await using on = await stage();
    const ids = async (...args: string[]) => JSON.parse((await baton([...args, "--json"], on.env)).out) as object[];
    expect(await ids("instances")).toMatchObject([{ name: "vm-a", connected: true }]);
    expect(await ids("gateways")).toMatchObject([{ name: "gw1", current: true, lastSeen: "2030-01-02T03:04:05.000Z" }]);
    expect(await ids("cluster")).toMatchObject([{ name: "tracker1", state: "alive", load: 0.5 }]);
    expect(await ids("cluster", "shards")).toMatchObject([{ shard: 0, primary: "tracker1", standby: null }]);
    expect(await ids("remaps")).toMatchObject([{ id: "r2" }, { id: "r1" }]);
    await ids("remaps", "list", "--open", "--address", address);
    expect(on.cluster.requests("listRemaps").at(-1)).toEqual({ address, openOnly: true });
  });

  it("of flows take filters, and are one JSON list over all pages", async () => {
    await using on = await stage({ flows: [flow, { ...flow, via: "vm-b" }] });
    const found = await baton(["flows", address, "--owner", "vm-a", "--peer", "198.51.100.2", "--json"], on.env);
    expect(JSON.parse(found.out)).toMatchObject([{ peerPort: 40_000 }, { via: "vm-b" }]);
    const [asked] = on.cluster.requests<ListFlowsRequest>("listFlows");
    expect(asked).toMatchObject({ address, owner: "vm-a", peer: "198.51.100.2", limit: 0 });
    const cut = await baton(["flows", address, "--limit", "2"], on.env);
    expect(lines(cut.out)).toHaveLength(3);
    expect(cut.err).toContain("--limit");
  });

  it("of no flows are an empty list", async () => {
    await using on = await stage();
    expect((await baton(["flows", address, "--json"], on.env)).out).toBe("[]\n");
  });
});

describe("changes of the inventory", () => {
  it("are asked for once, in the name of who asks", async () => {
    await using on = await stage();
    const added = await baton(["addresses", "add", "2001:DB8::1", "--instance", "vm-b", "--json"], on.env);
    expect(JSON.parse(added.out)).toMatchObject({ address: "2001:db8::1", instance: "vm-b" });
    expect((await baton(["addresses", "rm", address], on.env)).code).toBe(0);
    expect((await baton(["instances", "rm", "vm-b", "--json"], on.env)).out).toBe('{"removed":"vm-b"}\n');
    expect((await baton(["gateways", "rm", "gw1"], on.env)).code).toBe(0);
    expect((await baton(["cluster", "begin-anew"], on.env)).out).toBe("gw1, vm-a: no longer held back\n");
    const moved = await baton(["cluster", "move", "7", "--to", "tracker2", "--json"], on.env);
    expect(moved.out).toBe('{"shard":7,"primary":"tracker2","epoch":2}\n');
    const relaid = await baton(["cluster", "buckets", address, "4", "--json"], on.env);
    expect(relaid.out).toBe(`{"address":"${address}","buckets":4,"generation":2,"epoch":3}\n`);
    const waited = await baton(["cluster", "buckets", address, "1", "--wait"], on.env);
    expect(waited.out).toBe(`${address} has one bucket from epoch 3 on\n`);
    expect(on.cluster.asked.map(({ method }) => method)).toEqual([
      "addAddress",
      "removeAddress",
      "removeInstance",
      "removeGateway",
      "beginAnew",
      "moveShard",
      "setBuckets",
      "setBuckets",
      "listShards",
    ]);
    expect(on.cluster.requests("setBuckets")).toMatchObject([
      { address, buckets: 4 },
      { address, buckets: 1 },
    ]);
    expect(on.cluster.requests("addAddress")).toMatchObject([{ requestedBy: expect.stringMatching(/^tester@/) }]);
  });
});

describe("baton remap", () => {
  it("starts a remap and says how to watch it", async () => {
    await using on = await stage();
    const started = await baton(["remap", address, "--to", "vm-b"], on.env);
    expect(started.code).toBe(0);
    expect(started.out).toContain("baton remaps watch r1");
    const [request] = on.cluster.requests<CreateRemapRequest>("createRemap");
    expect(request).toMatchObject({ address, target: "vm-b", requestedBy: expect.stringMatching(/^tester@/) });
    expect(request?.policy).toEqual({
      deadlineMs: undefined,
      onDeadline: 0,
      lingerMs: undefined,
      unknown: 0,
      returnPath: 0,
      channel: 0,
      follow: undefined,
      offlineSource: false,
    });
  });

  it("asks for exactly the policy that it is given", async () => {
    await using on = await stage();
    const options = "--deadline 1h30m --on-deadline cut --linger 250ms --unknown drop --return direct --channel vxlan";
    const args = [
      "remap",
      address,
      "--to",
      "vm-b",
      ...options.split(" "),
      "--no-follow",
      "--offline-source",
      "--yes",
      "--json",
    ];
    const started = await baton(args, on.env);
    expect(started.out).toBe(`${remapToText(freshRemap)}\n`);
    expect(on.cluster.requests<CreateRemapRequest>("createRemap")[0]?.policy).toEqual({
      deadlineMs: 5_400_000n,
      onDeadline: 1,
      lingerMs: 250n,
      unknown: 2,
      returnPath: 2,
      channel: 3,
      follow: false,
      offlineSource: true,
    });
  });

  it("has a key of its own each time, so that a retry is not a second remap", async () => {
    await using on = await stage();
    await baton(["remap", address, "--to", "vm-b"], on.env);
    await baton(["remap", address, "--to", "vm-b"], on.env);
    const keys = on.cluster.requests<CreateRemapRequest>("createRemap").map(({ idempotencyKey }) => idempotencyKey);
    expect(new Set(keys).size).toBe(2);
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("only says what would happen with --dry-run, and with 3 that it would be refused", async () => {
    await using on = await stage();
    expect(
      JSON.parse((await baton(["remap", address, "--to", "vm-b", "--dry-run", "--json"], on.env)).out),
    ).toMatchObject({
      targetPrivate: "10.77.0.12",
      flows: 3,
      refusals: [],
    });
    expect(on.cluster.requests("createRemap")).toEqual([]);
    const refusals = [{ code: "INSTANCE_DOWN", message: "start its agent" }] as const;
    await using off = await stage({ preview: { ...preview, refusals } });
    const refused = await baton(["remap", address, "--to", "vm-b", "--dry-run"], off.env);
    expect([refused.code, refused.out]).toEqual([3, expect.stringContaining("INSTANCE_DOWN: start its agent")]);
  });

  it("--wait draining ends when it drains, with one object a line and the remap as the last", async () => {
    const watched = [freshRemap, { ...freshRemap, phase: "arming" as const }, drainingRemap];
    await using on = await stage({ watched });
    const done = await baton(["remap", address, "--to", "vm-b", "--wait", "draining", "--json"], on.env);
    expect(done.code).toBe(0);
    expect(lines(done.out)).toEqual(watched.map(remapToText));
  });

  it("--wait completed goes on past draining", async () => {
    await using on = await stage({ watched: [freshRemap, drainingRemap, cutRemap] });
    const done = await baton(["remap", address, "--to", "vm-b", "--wait", "completed"], on.env);
    expect(done.code).toBe(0);
    expect(lines(done.out)).toEqual([
      "203.0.113.10 vm-a → vm-b: preparing",
      "203.0.113.10 vm-a → vm-b: draining, 57 of 200 open",
      "203.0.113.10 vm-a → vm-b: completed (cut), 0 of 200 open: gw1 is silent",
    ]);
  });

  it("--wait draining that finds it completed is done, one that ends aborted has failed", async () => {
    await using completed = await stage({ watched: [cutRemap] });
    expect((await baton(["remap", address, "--to", "vm-b", "--wait", "draining"], completed.env)).code).toBe(0);
    await using aborted = await stage({ watched: [freshRemap, abortedRemap] });
    const failed = await baton(["remap", address, "--to", "vm-b", "--wait", "completed", "--json"], aborted.env);
    expect([failed.code, lines(failed.out).at(-1)]).toEqual([1, remapToText(abortedRemap)]);
  });
});

describe("baton remaps", () => {
  it("shows one, and gives orders about one", async () => {
    await using on = await stage();
    expect((await baton(["remaps", "show", "r7", "--json"], on.env)).out).toBe(
      `${remapToText({ ...freshRemap, id: "r7" })}\n`,
    );
    expect(JSON.parse((await baton(["remaps", "abort", "r7", "--json"], on.env)).out)).toMatchObject({
      id: "the-way-back",
    });
    for (const order of ["cut", "release"]) expect((await baton(["remaps", order, "r7"], on.env)).code).toBe(0);
    expect((await baton(["remaps", "deadline", "r7", "1h"], on.env)).code).toBe(0);
    expect((await baton(["remaps", "deadline", "r7", "none"], on.env)).code).toBe(0);
    const requestedBy = expect.stringMatching(/^tester@/);
    expect(on.cluster.requests("setDeadline")).toEqual([
      { id: "r7", deadlineMs: 3_600_000n, requestedBy },
      { id: "r7", deadlineMs: undefined, requestedBy },
    ]);
  });

  it("watch stops at Ctrl-C, says that the remap goes on, and exits with 130", async () => {
    await using on = await stage({ watched: [drainingRemap] });
    const watching = start(["remaps", "watch", "r1"], on.env);
    await expect.poll(watching.out, { timeout: 5_000 }).toContain("draining");
    watching.child.kill("SIGINT");
    const ended = await watching.ended;
    expect(ended.code).toBe(130);
    expect(ended.err).toBe("Stopped watching; the remap goes on. Watch it again: baton remaps watch r1\n");
    expect(on.cluster.asked.map(({ method }) => method)).toEqual(["watchRemap"]);
  });

  it("watch survives the loss of its coordinator", async () => {
    using directory = socketDirectory();
    const [one, two] = [directory.endpoint("1"), directory.endpoint("2")];
    const first = await serveCluster(one, { watched: [drainingRemap] });
    await using _second = await serveCluster(two, { watched: [drainingRemap, cutRemap] });
    const watching = start(["remaps", "watch", "r1", "--json", "--endpoint", `${one},${two}`]);
    await expect.poll(watching.out, { timeout: 5_000 }).toContain("draining");
    await first[Symbol.asyncDispose]();
    const ended = await watching.ended;
    expect([ended.code, lines(ended.out).at(-1)]).toEqual([0, remapToText(cutRemap)]);
  });
});

describe("on a terminal", () => {
  /** `script` gives the command a terminal of its own. */
  const onTerminal = (command: string, env: NodeJS.ProcessEnv) =>
    start(["-qefc", `${launcher} ${command}`, "/dev/null"], { TERM: "xterm", ...env }, "script");

  it("a watch is drawn in place, in colours, with the cursor given back at the end", async () => {
    await using on = await stage({ watched: [drainingRemap, cutRemap] });
    const { out, code } = await onTerminal("remaps watch r1", on.env).ended;
    expect(code).toBe(0);
    expect(out).toContain("█");
    expect(out).toMatch(new RegExp(`${escapeCode}\\[\\d+A\r${escapeCode}\\[J`));
    expect(out).toContain("\u001b[32m");
    expect(out.indexOf("\u001b[?25h")).toBeGreaterThan(out.lastIndexOf("completed"));
  });

  it("there are no colours with NO_COLOR", async () => {
    await using on = await stage({ watched: [cutRemap] });
    const { out } = await onTerminal("remaps watch r1", { ...on.env, NO_COLOR: "1" }).ended;
    expect(out).not.toMatch(new RegExp(`${escapeCode}\\[\\d+m`));
  });

  it("a remap shows what it would do and begins nothing without a yes", async () => {
    await using on = await stage();
    const asking = onTerminal(`remap ${address} --to vm-b`, on.env);
    await expect.poll(asking.out, { timeout: 5_000 }).toContain("Start it? [y/N]");
    expect(asking.out()).toContain("it would start");
    asking.child.stdin?.write("n\n");
    expect((await asking.ended).code).toBe(1);
    expect(on.cluster.requests("createRemap")).toEqual([]);
    const agreeing = onTerminal(`remap ${address} --to vm-b`, on.env);
    await expect.poll(agreeing.out, { timeout: 5_000 }).toContain("Start it? [y/N]");
    agreeing.child.stdin?.write("y\n");
    expect((await agreeing.ended).code).toBe(0);
    expect(on.cluster.requests("createRemap")).toHaveLength(1);
  });

  it("the end of input at a question begins nothing", async () => {
    await using on = await stage();
    const asking = onTerminal(`remap ${address} --to vm-b`, on.env);
    await expect.poll(asking.out, { timeout: 5_000 }).toContain("Start it? [y/N]");
    asking.child.stdin?.write("\u0004");
    expect((await asking.ended).code).toBe(1);
    expect(on.cluster.requests("createRemap")).toEqual([]);
  });

  it("Ctrl-C at a question begins nothing", async () => {
    await using on = await stage();
    const asking = onTerminal(`remap ${address} --to vm-b`, on.env);
    await expect.poll(asking.out, { timeout: 5_000 }).toContain("Start it? [y/N]");
    asking.child.stdin?.write("\u0003");
    expect((await asking.ended).code).toBe(130);
    expect(on.cluster.requests("createRemap")).toEqual([]);
  });
});

describe("failures", () => {
  it.each([
    ["ADDRESS_BUSY", 3, "refused"],
    ["UNKNOWN_ADDRESS", 3, "refused"],
    ["ADDRESS_EXISTS", 3, "refused"],
    ["UNSUPPORTED", 3, "refused"],
    ["INVALID_ARGUMENT", 2, "failed"],
    ["STORE_UNAVAILABLE", 1, "failed"],
    ["NODE_TIMEOUT", 1, "failed"],
  ] as const)("with code %s exit with %d and say so on standard error", async (code, exitCode, verb) => {
    await using on = await stage({ refuse: { createRemap: { code, message: "cause: next step" } } });
    const failed = await baton(["remap", address, "--to", "vm-b", "--json"], on.env);
    expect(failed).toEqual({ code: exitCode, out: "", err: `baton: ${verb} (${code}): cause: next step\n` });
  });

  it("of a server that answers nonsense are failures, not crashes", async () => {
    await using on = await stage({ flows: [{ ...flow, owner: "no such\nname" }] });
    const failed = await baton(["flows", address], on.env);
    expect([failed.code, failed.err]).toEqual([1, expect.stringContaining("flow.owner: expected a name")]);
  });

  it("exit with 4 when no coordinator answers, naming each and the next step", async () => {
    using directory = socketDirectory();
    const failed = await baton(["addresses", "--endpoint", `${directory.endpoint("x")},127.0.0.1:1`]);
    expect(failed.code).toBe(4);
    expect(failed.err).toMatch(/connect ENOENT .*; 127\.0\.0\.1:1: connect ECONNREFUSED .*\nnext: .*BATON_ENDPOINT\n$/);
  });

  it.each([
    [["remap", "not-an-address", "--to", "vm-b"], "Expected an IP address"],
    [["remap", address], "required option '--to <instance>'"],
    [["remap", address, "--to", "vm-b", "--deadline", "30"], "Expected a duration like"],
    [["remap", address, "--to", "vm-b", "--wait", "forever"], "Allowed choices are draining, completed"],
    [["remaps", "deadline", "r1", "soon"], "Or: none."],
    [["flows", address, "--limit", "-1"], "Expected a whole number"],
    [["addresses", "--jsn"], "unknown option"],
    [["nonsense"], "unknown command"],
    [["addresses"], "no coordinator is named"],
    [["addresses", "--endpoint", "http://x"], "is not an endpoint"],
  ])("of usage exit with 2: baton %s", async (args, message) => {
    const failed = await baton(args);
    expect(failed.code).toBe(2);
    expect(failed.out).toBe("");
    expect(failed.err).toContain(message);
    expect(failed.err).toContain("next: ");
  });

  it("of one coordinator are made good by another: past a dead one, on to the leader", async () => {
    using directory = socketDirectory();
    const details = { leader: directory.endpoint("leader") };
    await using leader = await serveCluster(directory.endpoint("leader"));
    const refuse = { createRemap: { code: "NOT_LEADER", message: "not me", details } } as const;
    await using _follower = await serveCluster(directory.endpoint("follower"), { refuse });
    const endpoints = `${directory.endpoint("dead")},${directory.endpoint("follower")}`;
    const started = await baton(["remap", address, "--to", "vm-b", "--endpoint", endpoints]);
    expect([started.code, started.err]).toEqual([0, ""]);
    expect(leader.requests("createRemap")).toHaveLength(1);
  });
});

describe("the launcher", () => {
  it("finds its installation through links", async () => {
    using directory = socketDirectory();
    const link = join(directory.endpoint("").slice("unix:".length), "baton");
    symlinkSync(launcher, `${link}-1`);
    symlinkSync("baton-1", link);
    expect(await start(["--version"], {}, link).ended).toMatchObject({ code: 0, out: "0.1.0\n" });
  });

  it("gives up quietly when its reader has seen enough", async () => {
    await using on = await stage({ flows: Array(20_000).fill(flow) });
    const ended = await start(["-c", `${launcher} flows ${address} --json | head -c 10`], on.env, "sh").ended;
    expect(ended).toEqual({ code: 0, out: '[{"address', err: "" });
  });
});
