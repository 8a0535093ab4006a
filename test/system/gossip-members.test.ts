/** Trackers and coordinators as members of one gossip, in a lab: what its members and its events say of real faults. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostOf, serviceOf, setCut, untilReady } from "../../services/lab/lab.ts";
import { killService, pauseService, resumeService, startService, stopService } from "../../services/lab/services.ts";
import { LabFixture, until } from "./lab-fixture.ts";

interface MemberJson {
  readonly name: string;
  readonly roles: readonly string[];
  readonly address: string;
  readonly state: string;
  readonly load: number;
}

interface EventJson {
  readonly event: string;
  readonly at: string;
  readonly term: number;
  readonly by: string;
  readonly member?: MemberJson & { readonly incarnation: number; readonly labels: object; readonly cpus?: number };
  readonly members?: readonly MemberJson[];
}

/** docs/operations.md: a crash is certain after this at the latest; mostly within ten seconds. */
const deadMaxMs = 30_000;
const joinedMaxMs = 30_000;
/** A member that is back is tried again every ten seconds. */
const healMaxMs = 60_000;
const testTimeoutMs = 150_000;

const all = ["coordinator1", "coordinator2", "tracker1", "tracker2", "tracker3"];

describe("the members of a lab with three trackers and two coordinators", () => {
  let fixture: LabFixture;
  let subscriber: ChildProcess;
  const events: { subject: string; body: EventJson }[] = [];
  const signal = AbortSignal.timeout(600_000);

  beforeAll(async () => {
    fixture = await LabFixture.start("gossip", { trackers: 3, coordinators: 2, instances: 1 });
    const script = fileURLToPath(new URL("gossip/subscriber.script.ts", import.meta.url));
    const [program = "", ...args] = [...fixture.inside("nats1"), process.execPath, script, "10.77.0.21:4222"];
    subscriber = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    if (subscriber.stdout !== null)
      createInterface(subscriber.stdout).on("line", (line) => {
        const [, subject = "", text = ""] = /^(\S+) (.*)$/.exec(line) ?? [];
        events.push({ subject, body: JSON.parse(text) as EventJson });
      });
  });

  afterAll(async () => {
    subscriber?.kill("SIGKILL");
    await fixture?.[Symbol.asyncDispose]();
  });

  const service = (name: string) => serviceOf(fixture.lab, name);

  /** As a user asks; undefined while no coordinator leads. */
  async function members(): Promise<readonly MemberJson[] | undefined> {
    const result = await fixture.baton("cluster", "members");
    return result.code === 0 ? (result.json[0] as readonly MemberJson[]) : undefined;
  }

  async function stateOf(name: string): Promise<string | undefined> {
    return (await members())?.find((member) => member.name === name)?.state;
  }

  const allAlive = async (): Promise<boolean> => {
    const states = (await members())?.filter(({ name }) => all.includes(name)).map(({ state }) => state);
    return states?.join(" ") === all.map(() => "alive").join(" ");
  };

  const eventsOf = (name: string, since: number): string[] =>
    events
      .slice(since)
      .filter(({ body }) => body.member?.name === name)
      .map(({ body }) => body.event);

  const untilEvent = (what: string, name: string, since: number, withinMs: number): Promise<void> =>
    until(`${what} of ${name}; there were ${JSON.stringify(events.slice(since))}`, withinMs, () =>
      eventsOf(name, since).includes(what),
    );

  it(
    "are all alive, with role, address and load, and so are agent and gateway",
    async () => {
      await until("all members alive", joinedMaxMs, allAlive);
      const listed = (await members()) ?? [];
      for (const name of all) {
        const role = name.replace(/\d$/, "");
        expect(listed).toContainEqual({
          name,
          roles: [role],
          address: expect.stringMatching(role === "tracker" ? /^10\.77\.0\.3\d:7410$/ : /^10\.77\.0\.4\d:7400$/),
          state: "alive",
          load: expect.any(Number),
          ...(role === "tracker" && { hosting: "ready" }),
        });
      }
      for (const [name, role] of [
        ["vm-a", "agent"],
        ["gw1", "gateway"],
      ] as const)
        expect(listed).toContainEqual({ name, roles: [role], address: "", state: "alive", load: 0 });
      for (const { load } of listed) expect(load >= 0 && load <= 1).toBe(true);
      expect(listed.filter(({ name }) => all.includes(name))).toHaveLength(all.length);
    },
    testTimeoutMs,
  );

  it(
    "begin their events with a list of all, which says what each can do",
    async () => {
      await until("a list of members", joinedMaxMs, () => events.some(({ body }) => body.event === "members"));
      for (const { subject, body } of events) expect(subject).toBe(`baton.cluster.${body.event}`);
      const { body } = events.find((event) => event.body.event === "members") as { body: EventJson };
      expect(body).toMatchObject({ term: expect.any(Number), by: expect.stringMatching(/^coordinator\d$/) });
      expect(new Date(body.at).toISOString()).toBe(body.at);
      const own = body.members?.find(({ name }) => name === body.by);
      expect(own).toMatchObject({ state: "alive", cpus: expect.any(Number), memoryMiB: expect.any(Number) });
    },
    testTimeoutMs,
  );

  it(
    "know a tracker that was killed to be dead, tell of it once, and take it back under its name",
    async () => {
      const since = events.length;
      await killService(fixture.lab, service("tracker3"), signal);
      await until("tracker3 dead", deadMaxMs, async () => (await stateOf("tracker3")) === "dead");
      await untilEvent("member-dead", "tracker3", since, 5_000);
      startService(fixture.lab, service("tracker3"));
      await untilReady(fixture.lab, [service("tracker3")], signal);
      await until("tracker3 alive again", joinedMaxMs, allAlive);
      await untilEvent("member-joined", "tracker3", since, 5_000);
      const told = eventsOf("tracker3", since).filter((event) => event !== "member-updated");
      expect(told).toEqual(["member-suspect", "member-dead", "member-joined"]);
    },
    testTimeoutMs,
  );

  it(
    "know a tracker that was told to stop to have left, at once, and without a word of death",
    async () => {
      const since = events.length;
      await stopService(fixture.lab, service("tracker2"), signal);
      await until("tracker2 left", 5_000, async () => (await stateOf("tracker2")) === "left");
      await untilEvent("member-left", "tracker2", since, 5_000);
      expect(eventsOf("tracker2", since)).toEqual(["member-left"]);
      startService(fixture.lab, service("tracker2"));
      await untilReady(fixture.lab, [service("tracker2")], signal);
      await until("tracker2 alive again", joinedMaxMs, allAlive);
    },
    testTimeoutMs,
  );

  it(
    "suspect a paused tracker, bury it if that lasts, and see it come back by itself",
    async () => {
      const since = events.length;
      await pauseService(fixture.lab, service("tracker1"), signal);
      await untilEvent("member-suspect", "tracker1", since, deadMaxMs);
      await until("tracker1 dead", deadMaxMs, async () => (await stateOf("tracker1")) === "dead");
      resumeService(fixture.lab, service("tracker1"));
      await until("tracker1 alive again", joinedMaxMs, allAlive);
      await untilEvent("member-joined", "tracker1", since, 5_000);
      const buried = events.slice(since).filter(({ body }) => body.event === "member-dead");
      expect(buried.map(({ body }) => body.member?.name)).toEqual(["tracker1"]);
    },
    testTimeoutMs,
  );

  it(
    "lose a tracker that nobody reaches, and find it again when the network is whole",
    async () => {
      const tracker = hostOf(fixture.lab, "tracker3");
      const others = all.filter((name) => name !== "tracker3").map((name) => hostOf(fixture.lab, name));
      for (const other of others) await setCut(fixture.lab, tracker, other, true);
      await until("tracker3 dead", deadMaxMs, async () => (await stateOf("tracker3")) === "dead");
      for (const other of others) await setCut(fixture.lab, tracker, other, false);
      await until("tracker3 alive again", healMaxMs, allAlive);
    },
    testTimeoutMs,
  );

  it(
    "are not told wrong by one cut between two that others can bridge",
    async () => {
      const since = events.length;
      const [one, other] = [hostOf(fixture.lab, "tracker1"), hostOf(fixture.lab, "tracker2")];
      await setCut(fixture.lab, one, other, true);
      const probes = async (name: string): Promise<number> => {
        const text = await fixture.exec(name, process.execPath, "-e", scrape);
        return Number(/^baton_gossip_probes_indirect_total (\d+)/m.exec(text)?.[1]);
      };
      const before = await probes("tracker1");
      await until("indirect probes of tracker1", 20_000, async () => (await probes("tracker1")) >= before + 3);
      await setCut(fixture.lab, one, other, false);
      expect(events.slice(since).filter(({ body }) => body.event === "member-dead")).toEqual([]);
      expect(await allAlive()).toBe(true);
    },
    testTimeoutMs,
  );

  it(
    "hear of the leading coordinator's death from the next one, which begins with a list",
    async () => {
      const since = events.length;
      const leader = events.findLast(({ body }) => body.event === "members")?.body.by ?? "";
      await killService(fixture.lab, service(leader), signal);
      await untilEvent("member-dead", leader, since, deadMaxMs + 5_000);
      const list = events.slice(since).find(({ body }) => body.event === "members")?.body;
      expect(list?.by).not.toBe(leader);
      expect(events.slice(since).every(({ body }) => body.by !== leader)).toBe(true);
      startService(fixture.lab, service(leader));
      await untilReady(fixture.lab, [service(leader)], signal);
      await until("all alive again", joinedMaxMs, allAlive);
    },
    testTimeoutMs,
  );

  it("never had one change told twice", () => {
    const told = events.flatMap(({ body: { event, member } }) =>
      member === undefined ? [] : [`${event} ${member.name} ${member.incarnation}`],
    );
    expect(told.length).toBeGreaterThan(5);
    expect(new Set(told).size).toBe(told.length);
  });
});

const scrape = `fetch("http://127.0.0.1:9464/metrics").then((r) => r.text()).then((t) => process.stdout.write(t))`;
