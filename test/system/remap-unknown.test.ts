/** Packets of strangers and nonsense at the target (trap 7; SPEC D3, D7, D9, decision rules 6 and 7). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import type { Client } from "../traffic/driver.ts";
import type { TcpPacket } from "../traffic/packets.ts";
import { ports } from "../traffic/protocol.ts";
import { setEntries, trackedConnections } from "./kernel-state.ts";
import { clientAddress, LabFixture, privateOf, publicAddress } from "./lab-fixture.ts";

const scanPackets = 20_000;
const mostEntries = 1_000;
const program = (name: string) => new URL(name, import.meta.url).pathname;

describe("packets that belong to no connection", () => {
  let fixture: LabFixture;
  let client: Client;

  beforeAll(async () => {
    fixture = await LabFixture.start("unknown");
    client = fixture.client();
    await client.open({ group: "old", kind: "push", to: publicAddress, count: 20, intervalMs: 20 });
    await client.open({ group: "old", kind: "echo", to: publicAddress, count: 50 });
    await fixture.remap("vm-b", "draining");
    await client.open({ group: "own", kind: "echo", to: publicAddress, count: 30 });
    await client.open({ group: "own", kind: "push", to: publicAddress, count: 10, intervalMs: 20 });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it("fill no set and no table, when they come as a scan, and harm no live flow", async () => {
    const trackedBefore = await trackedConnections(fixture, "vm-b");
    const output = await fixture.exec(
      "client1",
      process.execPath,
      program("send-packets.ts"),
      "scan",
      publicAddress,
      String(ports.echo),
      String(scanPackets),
    );
    expect(JSON.parse(output)).toEqual({ refused: 0 });
    const entries = [...(await setEntries(fixture, "vm-b")).values()].reduce((sum, count) => sum + count, 0);
    expect(entries).toBeLessThan(mostEntries);
    expect(await trackedConnections(fixture, "vm-b")).toBeLessThanOrEqual(trackedBefore + 5);
    await expectAllOpen();
  });

  it("leave the target its own connections: bad checksums, SYN+FIN, mid-stream segments", async () => {
    const { records } = await client.report({ group: "own", records: true });
    const packets = records.flatMap((record) =>
      nonsense(record.localPort, record.kind === "echo" ? ports.echo : ports.push),
    );
    await fixture.exec("client1", process.execPath, program("send-packets.ts"), JSON.stringify(packets));
    await expectAllOpen();
  });

  it("leave the target its own connections even when the kernel has forgotten that it tracked them", async () => {
    const forget = [process.execPath, program("forget-connections.ts"), privateOf["vm-b"]];
    expect(JSON.parse(await fixture.exec("vm-b", ...forget)).forgotten).toBeGreaterThanOrEqual(40);
    await expectAllOpen();
    await client.close("own");
    const [echo, push] = (await client.report({ group: "own" })).kinds;
    expect([echo?.states, push?.states]).toEqual([{ closed: 30 }, { closed: 10 }]);
  });

  it("cause no reset at the client", async () => {
    const card = await readCardWatch(fixture.namespace("client1"));
    expect(card).toEqual({ privateSource: 0, resets: 0 });
    const { kinds } = await client.report();
    expect(kinds.flatMap((kind) => Object.keys(kind.failures))).toEqual([]);
  });

  async function expectAllOpen(): Promise<void> {
    for (const group of ["old", "own"]) {
      const server = group === "old" ? "vm-a" : "vm-b";
      for (const kind of (await client.ping(group)).filter((one) => one.group === group)) {
        expect(kind).toMatchObject({ states: { open: kind.count }, servers: { [server]: kind.count }, failures: {} });
      }
    }
  }
});

function nonsense(sourcePort: number, destinationPort: number): TcpPacket[] {
  const tuple = { source: clientAddress, destination: publicAddress, sourcePort, destinationPort };
  return [
    { ...tuple, sequence: 1, acknowledgement: 1, flags: "A", wrongChecksum: true },
    { ...tuple, sequence: 2, acknowledgement: 0, flags: "SF" },
    { ...tuple, sequence: 3, acknowledgement: 3, flags: "A" },
    { ...tuple, sequence: 4, acknowledgement: 4, flags: "SA", wrongChecksum: true },
  ];
}
