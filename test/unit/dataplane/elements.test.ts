import { describe, expect, test } from "vitest";
import {
  addFlows,
  addHalfOpen,
  endFlows,
  flowOfElement,
  muteSockets,
  setBoundPorts,
} from "../../../src/dataplane/elements.ts";
import type { FlowKey } from "../../../src/flow/flow.ts";
import { ip } from "./agent-states.ts";

function key(peerPort: number): FlowKey {
  return { address: ip("203.0.113.10"), protocol: "tcp", peer: ip("198.51.100.2"), peerPort, port: 80 };
}

describe("changes of the agent's sets", () => {
  test("of no flows are no commands", () => {
    expect([addFlows("follow", 5, []), addHalfOpen(5, [], 64), endFlows(5, [])].join("")).toBe("");
  });

  test("add many flows by one command", () => {
    expect(addFlows("follow", 5, [key(1000), key(1001)])).toBe(
      "add element inet baton follow_5 { 198.51.100.2 . 1000 . 80, 198.51.100.2 . 1001 . 80 }\n",
    );
  });

  test("end a flow in every set that may hold it, and remember it as ended", () => {
    const commands = endFlows(5, [key(1000)])
      .trimEnd()
      .split("\n");
    expect(commands[0]).toBe("add element inet baton closing_5 { 198.51.100.2 . 1000 . 80 timeout 120s }");
    for (const set of ["follow_5", "learnt_5", "half_5"]) {
      const added = commands.findIndex((command) => command.startsWith(`add element inet baton ${set} `));
      const deleted = commands.findIndex((command) => command.startsWith(`delete element inet baton ${set} `));
      expect(added).toBeGreaterThanOrEqual(0);
      expect(deleted).toBeGreaterThan(added);
    }
  });

  test("are read back as the flows that they name", () => {
    const element = Uint8Array.of(198, 51, 100, 2, 0x03, 0xe8, 0, 0, 0, 80, 0, 0);
    expect(flowOfElement(ip("203.0.113.10"), element)).toEqual(key(1000));
    expect(flowOfElement(ip("203.0.113.10"), element.subarray(0, 8))).toBeUndefined();
  });

  test("mute for a while what the holder has taken over", () => {
    const socket = (remotePort: number) => ({ remote: ip("198.51.100.2"), remotePort, localPort: 80 });
    expect(muteSockets(5, [])).toBe("");
    expect(muteSockets(5, [socket(1000), socket(1001)])).toBe(
      "add element inet baton muted_5 { 198.51.100.2 . 1000 . 80 timeout 128s, 198.51.100.2 . 1001 . 80 timeout 128s }\n",
    );
  });

  test("replace the ports of bound listeners", () => {
    expect(setBoundPorts(ip("10.77.0.12"), [80, 443])).toBe(
      "flush set inet baton bound_10_77_0_12\nadd element inet baton bound_10_77_0_12 { 80, 443 }\n",
    );
    expect(setBoundPorts(ip("10.77.0.12"), [])).toBe("flush set inet baton bound_10_77_0_12\n");
  });
});
