import { describe, expect, it } from "vitest";
import { bucketTable, memberJson, memberTable, shardJson, shardTable } from "../../../services/cli/render/cluster.ts";
import { checkJson, checkTable } from "../../../services/cli/render/doctor.ts";
import { flowJson, flowTable } from "../../../services/cli/render/flows.ts";
import {
  addressJson,
  addressTable,
  gatewayJson,
  gatewayTable,
  instanceJson,
  instanceTable,
} from "../../../services/cli/render/inventory.ts";
import { type Line, renderLines } from "../../../services/cli/render/text.ts";
import type { Flow } from "../../../src/flow/flow.ts";
import { ip, startMs } from "../rpc/remap-samples.ts";

const plainText = { colours: false, width: 0 };
const text = (lines: readonly Line[]) => `\n${renderLines(lines, plainText).join("\n")}\n`;

describe("addresses", () => {
  const free = { address: ip("203.0.113.10"), instance: "vm-a", private: ip("10.77.0.11"), generation: 1n };
  const moving = {
    address: ip("2001:db8:f::11"),
    instance: "vm-b",
    private: ip("fd77::12"),
    generation: 12n,
    remap: "r1",
  };

  it("are a table", () => {
    expect(text(addressTable([free, moving]))).toMatchInlineSnapshot(`
      "
      ADDRESS         INSTANCE  PRIVATE     GENERATION  REMAP
      203.0.113.10    vm-a      10.77.0.11           1
      2001:db8:f::11  vm-b      fd77::12            12  r1
      "
    `);
    expect(text(addressTable([]))).toContain("baton addresses add ADDRESS --instance NAME");
  });

  it("are JSON of a fixed shape", () => {
    expect(JSON.stringify([free, moving].map(addressJson))).toBe(
      '[{"address":"203.0.113.10","instance":"vm-a","private":"10.77.0.11","generation":1},' +
        '{"address":"2001:db8:f::11","instance":"vm-b","private":"fd77::12","generation":12,"remap":"r1"}]',
    );
  });
});

describe("nodes", () => {
  const instance = {
    name: "vm-a",
    privateAddresses: [ip("10.77.0.11"), ip("10.77.0.111")],
    addresses: [ip("203.0.113.10")],
    connected: true,
    lastSeenMs: startMs,
    version: "0.1.0",
  };
  const gone = { ...instance, name: "vm-b", connected: false, addresses: [] };
  const gateway = { name: "gw1", connected: false, version: "0.1.0", current: false };

  it("are tables", () => {
    expect(text(instanceTable([instance, gone], startMs + 61_000))).toMatchInlineSnapshot(`
      "
      INSTANCE  AGENT          PRIVATE                 ADDRESSES     VERSION
      vm-a      connected      10.77.0.11 10.77.0.111  203.0.113.10  0.1.0
      vm-b      gone for 1m1s  10.77.0.11 10.77.0.111                0.1.0
      "
    `);
    expect(text(gatewayTable([gateway], startMs))).toMatchInlineSnapshot(`
      "
      GATEWAY  STATE       TABLE   VERSION
      gw1      never seen  behind  0.1.0
      "
    `);
  });

  it("are JSON", () => {
    expect(JSON.stringify(instanceJson(instance))).toBe(
      '{"name":"vm-a","private":["10.77.0.11","10.77.0.111"],"addresses":["203.0.113.10"],"connected":true,' +
        '"lastSeen":"2030-01-02T03:04:05.000Z","version":"0.1.0"}',
    );
    expect(JSON.stringify(gatewayJson(gateway))).toBe(
      '{"name":"gw1","connected":false,"version":"0.1.0","current":false}',
    );
  });
});

describe("flows", () => {
  const flow: Flow = {
    key: { address: ip("203.0.113.10"), protocol: "tcp", peer: ip("198.51.100.2"), peerPort: 40_000, port: 443 },
    owner: "vm-a",
    via: "vm-b",
    state: "closing",
    openedAtMs: startMs,
    generation: 1n,
  };

  it("are a table", () => {
    expect(text(flowTable([flow], startMs + 90_000))).toMatchInlineSnapshot(`
      "
      PROTO  PEER          PEER PORT  PORT  OWNER  VIA   STATE      AGE  GENERATION
      tcp    198.51.100.2      40000   443  vm-a   vm-b  closing  1m30s           1
      "
    `);
    expect(text(flowTable([], startMs))).toBe("\nNo open connection.\n");
  });

  it("are JSON of a fixed shape", () => {
    expect(JSON.stringify(flowJson(flow))).toBe(
      '{"address":"203.0.113.10","protocol":"tcp","peer":"198.51.100.2","peerPort":40000,"port":443,"owner":"vm-a",' +
        '"via":"vm-b","state":"closing","openedAt":"2030-01-02T03:04:05.000Z","generation":1}',
    );
  });
});

describe("the cluster", () => {
  const member = {
    name: "tracker1",
    roles: ["tracker"],
    address: "10.77.0.31:7946",
    state: "suspect",
    load: 0.25,
  } as const;
  const shard = {
    shard: 7,
    primary: "tracker1",
    epoch: 2n,
    lag: 0,
    flows: 12_000,
    complete: true,
    state: "serving" as const,
    pinned: false,
  };

  it("is tables", () => {
    expect(
      text(memberTable([member, { ...member, name: "vm-a", roles: ["agent", "tracker"], hosting: "draining" }])),
    ).toMatchInlineSnapshot(`
      "
      MEMBER    ROLES          ADDRESS          STATE    LOAD  HOSTING
      tracker1  tracker        10.77.0.31:7946  suspect   25%
      vm-a      agent tracker  10.77.0.31:7946  suspect   25%  draining
      "
    `);
    expect(
      text(
        shardTable([
          shard,
          { ...shard, shard: 8, primary: "", lag: 9, complete: false, state: "away" as const, pinned: true },
        ]),
      ),
    ).toMatchInlineSnapshot(`
      "
      SHARD  PRIMARY   STANDBY  EPOCH  LAG   FLOWS  STATE
          7  tracker1               2    0  12,000  serving
          8  nobody                 2    9  12,000  away     incomplete  pinned
      "
    `);
  });

  it("is JSON of a fixed shape", () => {
    expect(JSON.stringify(memberJson(member))).toBe(
      '{"name":"tracker1","roles":["tracker"],"address":"10.77.0.31:7946","state":"suspect","load":0.25}',
    );
    expect(JSON.stringify(memberJson({ ...member, hosting: "ready" }))).toContain('"load":0.25,"hosting":"ready"}');
    expect(JSON.stringify([shardJson(shard, []), shardJson({ ...shard, standby: "tracker2" }, [])])).toBe(
      '[{"shard":7,"primary":"tracker1","standby":null,"epoch":2,"lag":0,"flows":12000,"complete":true,"state":"serving","pinned":false},' +
        '{"shard":7,"primary":"tracker1","standby":"tracker2","epoch":2,"lag":0,"flows":12000,"complete":true,"state":"serving","pinned":false}]',
    );
  });
});

describe("addresses with several buckets", () => {
  const address = ip("203.0.113.10");
  const settled = { address, layout: { buckets: 2, generation: 3 }, shards: [31, 0] };
  const moving = { address: ip("203.0.113.11"), layout: { buckets: 1, generation: 2, before: 2 }, shards: [4, 5] };

  it("stand below the shards, where there are any", () => {
    expect(bucketTable([])).toEqual([]);
    expect(text(bucketTable([settled, moving]))).toMatchInlineSnapshot(`
      "

      ADDRESS       BUCKETS  SHARDS
      203.0.113.10        2  0 31
      203.0.113.11        1  4 5     flows move, from 2
      "
    `);
  });

  it("are named with each of their shards", () => {
    const shard = { shard: 4, primary: "t1", epoch: 2n, lag: 0, flows: 1, complete: true, pinned: false } as const;
    const json = shardJson({ ...shard, state: "serving" }, [settled, moving]);
    expect(json).toMatchObject({ addresses: [{ address: "203.0.113.11", buckets: 1, generation: 2, before: 2 }] });
  });
});

describe("the doctor's findings", () => {
  const findings = [
    { name: "node", state: "ok", found: "v24.0.0" },
    { name: "vxlan", state: "limited", found: "Unknown device type.", next: "modprobe vxlan" },
  ] as const;

  it("are a table, with what to do below it", () => {
    expect(text(checkTable(findings))).toMatchInlineSnapshot(`
      "
      CHECK  STATE    FOUND
      node   ok       v24.0.0
      vxlan  limited  Unknown device type.

      Next:
        vxlan: modprobe vxlan
      "
    `);
    expect(JSON.stringify(findings.map(checkJson))).toBe(
      '[{"name":"node","state":"ok","found":"v24.0.0"},' +
        '{"name":"vxlan","state":"limited","found":"Unknown device type.","next":"modprobe vxlan"}]',
    );
  });
});
