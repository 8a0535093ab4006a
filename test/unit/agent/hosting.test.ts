/** Whether and how a tracker runs beside an agent (SPEC, "Hosting"): what is decided without any process. */
import { describe, expect, it } from "vitest";
import { agentConfigSchema } from "../../../services/agent/config.ts";
import { hostedPorts, planHosting } from "../../../services/agent/hosting/config.ts";
import { deathsMax, Restarts, restMs, steadyMs } from "../../../services/agent/hosting/restarts.ts";
import { isNeeded } from "../../../services/agent/hosting/tracker-keeper.ts";
import { parseConfig, printConfig } from "../../../src/runtime/config.ts";

const least = `name: vm-a
coordinators: ["10.77.0.41:7400", "10.77.0.42:7400"]
trackers: ["10.77.0.31:7410", "unix:/run/t.sock", "10.77.0.41:7410"]
nats: { servers: ["10.77.0.21:4222"] }
privateAddresses: ["fd77::11", "10.77.0.11"]
stateDirectory: /var/lib/baton
`;
const parse = (text: string, env = {}) => parseConfig(agentConfigSchema, { file: "a.yaml", text: least + text, env });
function read(text: string, env = {}) {
  const loaded = parse(text, env);
  if (!loaded.ok) throw new Error(loaded.errors.join("\n"));
  return loaded.value;
}

describe("the setting hosting", () => {
  it("is off where nothing is said", () => {
    expect(read("").hosting.enabled).toBe(false);
    expect(read("hosting: false").hosting.enabled).toBe(false);
  });

  it("needs nothing but true", () => {
    const plan = planHosting(read("hosting: true"));
    expect(plan).toMatchObject({
      readiness: "ready",
      setup: {
        name: "vm-a",
        endpoint: "10.77.0.11:7410",
        listen: ["10.77.0.11:7410"],
        dataDirectory: "/var/lib/baton/tracker",
        nats: { servers: ["10.77.0.21:4222"] },
        shards: 32,
      },
      gossip: {
        listen: { host: "10.77.0.11", port: 7420 },
        seeds: ["10.77.0.41:7420", "10.77.0.42:7420", "10.77.0.31:7420"],
      },
    });
  });

  it("can be closed, or a section that says more", () => {
    expect(planHosting(read("hosting: closed")).readiness).toBe("closed");
    const section =
      'hosting: { listen: ["0.0.0.0:7411"], advertise: "10.0.0.1:7411", gossip: { label: x, seeds: ["s:1"] } }';
    const plan = planHosting(read(section));
    expect(plan.setup).toMatchObject({ listen: ["0.0.0.0:7411"], endpoint: "10.0.0.1:7411" });
    expect(plan.gossip).toMatchObject({ label: "x", seeds: ["s:1"] });
  });

  it("says which ports are the fabric's alone: the tracker's and the gossip's, wherever they were put (H15)", () => {
    const portsOf = (text: string) =>
      hostedPorts(planHosting(read(text))).map(
        ({ protocol, address, port }) => `${protocol} ${address ?? "any"} ${port}`,
      );
    expect(portsOf("hosting: true")).toEqual(["tcp 10.77.0.11 7410", "tcp 10.77.0.11 7420", "udp 10.77.0.11 7420"]);
    const elsewhere =
      'hosting: { listen: ["unix:/run/t", "0.0.0.0:7411", "vm-a.example:7412"], gossip: { listen: "[::]:7", advertise: "10.0.0.1:7" } }';
    expect(portsOf(elsewhere)).toEqual(["tcp any 7411", "tcp any 7412", "tcp any 7", "udp any 7"]);
    expect(portsOf('hosting: { listen: ["[fd77::11]:7410"], gossip: { seeds: ["s:1"] } }')).toEqual([]);
  });

  it("is printed so that it is read as the same again", () => {
    for (const text of ["hosting: true", "hosting: false", "hosting: closed"]) {
      const config = read(text);
      const printed = parseConfig(agentConfigSchema, {
        file: "b.yaml",
        text: printConfig(agentConfigSchema, config),
        env: {},
      });
      expect(printed).toEqual({ ok: true, value: config });
    }
  });

  it("is overridden by the environment as a whole, and its settings where it is a section", () => {
    expect(read("", { BATON_HOSTING: "true" }).hosting.enabled).toBe(true);
    expect(read("hosting: true", { BATON_HOSTING: "closed" }).hosting.readiness).toBe("closed");
    expect(read("hosting: {}", { BATON_HOSTING_LISTEN: "10.0.0.9:1" }).hosting.listen).toEqual(["10.0.0.9:1"]);
  });

  it.each([
    ["hosting: maybe", /a.yaml:7:1: hosting: expected object, found "maybe"/],
    ["hosting: { listn: [] }", /hosting.listn: unknown setting/],
    ["hosting: { listen: [nowhere] }", /a.yaml:7:21: hosting.listen\[0\]: expected host:port/],
    ["hosting: { readiness: draining }", /hosting.readiness: expected one of "ready", "closed"/],
  ])("is refused with its place and what was expected: %s", (text, expected) => {
    const loaded = parse(text);
    expect(loaded.ok ? "" : loaded.errors.join("\n")).toMatch(expected);
  });

  it("asks for seeds where none can be concluded", () => {
    const text = least.replace(/"10[^"]*:74[0-9]+"/g, '"unix:/run/x.sock"');
    const loaded = parseConfig(agentConfigSchema, { file: "a.yaml", text: `${text}hosting: true`, env: {} });
    expect(loaded.ok ? "" : loaded.errors.join("\n")).toMatch(/hosting: .*a section gossip with seeds/);
  });
});

describe("a tracker beside an agent is needed", () => {
  const report = (shards: number[], epoch?: bigint) => ({ shards, load: 0, notReady: [], ...(epoch && { epoch }) });

  it("while an epoch names it", () => {
    expect(isNeeded({ epoch: 3n, shards: [1] }, false, undefined)).toBe(true);
    expect(isNeeded({ epoch: 3n, shards: [] }, false, undefined)).toBe(false);
  });

  it("until nothing is left of what it has given away, by the newest epoch (H12)", () => {
    const named = { epoch: 3n, shards: [] };
    expect(isNeeded(named, true, undefined)).toBe(true);
    expect(isNeeded(named, true, report([4], 3n))).toBe(true);
    expect(isNeeded(named, true, report([], 2n))).toBe(true);
    expect(isNeeded(named, true, report([]))).toBe(true);
    expect(isNeeded(named, true, report([], 3n))).toBe(false);
  });

  it("while it could not load what lies on its disk (H11)", () => {
    const full = { ...report([], 3n), notReady: ["no space is left for its database"] };
    expect(isNeeded({ epoch: 3n, shards: [] }, true, full)).toBe(true);
  });

  it("while nobody knows an epoch, if it has left anything behind", () => {
    expect(isNeeded({ epoch: undefined, shards: [] }, true, report([], 3n))).toBe(true);
    expect(isNeeded({ epoch: undefined, shards: [] }, false, undefined)).toBe(false);
  });
});

describe("a tracker that dies beside an agent", () => {
  it("is started again, later each time", () => {
    const restarts = new Restarts();
    const waits = [1, 2, 3].map((atMs) => restarts.died(10, atMs));
    expect(waits).toEqual([500, 1_000, 2_000]);
    expect(restarts.offers(4)).toBe(true);
    expect(restarts.total).toBe(3);
  });

  it("too often is offered to nobody for a while (H13)", () => {
    const restarts = new Restarts();
    for (let death = 0; death < deathsMax; death++) restarts.died(10, 1_000);
    expect(restarts.offers(1_000 + restMs - 1)).toBe(false);
    expect(restarts.offers(1_000 + restMs)).toBe(true);
  });

  it("is offered again once it has run for a while, and what was before counts no more", () => {
    const restarts = new Restarts();
    for (let death = 0; death < deathsMax; death++) restarts.died(10, 1_000);
    restarts.runs(steadyMs - 1);
    expect(restarts.offers(2_000)).toBe(false);
    restarts.runs(steadyMs);
    expect(restarts.offers(2_000)).toBe(true);
    expect(restarts.died(steadyMs, 3_000)).toBe(500);
    expect(restarts.offers(3_000)).toBe(true);
  });
});
