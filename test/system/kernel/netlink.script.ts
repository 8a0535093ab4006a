/** Requests and dumps over a table of many rules; prints how they went. */

import { parseIpAddress } from "../../../src/flow/address.ts";
import type { NetlinkMessage } from "../../../src/kernel/attributes.ts";
import { KernelError } from "../../../src/kernel/kernel-error.ts";
import { type DumpEnd, NetlinkSocket, netlinkFamily } from "../../../src/kernel/netlink.ts";
import { addRule, listRules } from "../../../src/kernel/rule.ts";
import { ensureVxlan } from "../../../src/kernel/vxlan.ts";

const ruleCount = 2_000;
const getRules = 34;
const linkCount = 100;
const getLinks = 18;
const linkDump = new Uint8Array(16);
const ipv4RuleDump = Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

/** As if the table had changed in the first passes. */
class ChangingTable extends NetlinkSocket {
  passes = 0;
  readonly #changes: number;

  constructor(changes: number) {
    super(netlinkFamily.route);
    this.#changes = changes;
  }

  override *stream(type: number, payload: Uint8Array): Generator<NetlinkMessage, DumpEnd, void> {
    this.passes++;
    const end = yield* super.stream(type, payload);
    return { interrupted: end.interrupted || this.passes <= this.#changes };
  }
}

interface Pass {
  readonly count: number;
  readonly interrupted: boolean;
}

function read(socket: NetlinkSocket, type: number, payload: Uint8Array, afterFirst: () => void): Pass {
  const entries = socket.stream(type, payload);
  let count = 0;
  let step = entries.next();
  while (step.done !== true) {
    count++;
    if (count === 1) afterFirst();
    step = entries.next();
  }
  return { count, interrupted: step.value.interrupted };
}

function dumpOfChanging(changes: number): { passes: number; count: number } {
  using socket = new ChangingTable(changes);
  const count = socket.dump(getRules, ipv4RuleDump).length;
  return { passes: socket.passes, count };
}

function addDevice(index: number): void {
  const [local, remote] = [parseIpAddress("10.0.0.1"), parseIpAddress("10.0.0.2")];
  if (local === undefined || remote === undefined) throw new Error("address");
  ensureVxlan(other, { name: `v${index}`, vni: index, local, remote, port: 4789 });
}

using socket = new NetlinkSocket(netlinkFamily.route);
using other = new NetlinkSocket(netlinkFamily.route);
for (let index = 0; index < ruleCount; index++)
  addRule(other, { preference: 10_000 + index, mark: index, table: 7000 });

const quiet = read(socket, getRules, ipv4RuleDump, () => {});
for (let index = 0; index < linkCount; index++) addDevice(index);
const quietLinks = read(socket, getLinks, linkDump, () => {});
const changedLinks = read(socket, getLinks, linkDump, () => addDevice(linkCount));
for (const _ of socket.stream(getRules, ipv4RuleDump)) break;
const afterBreak = listRules(socket).length;
const once = dumpOfChanging(2);
const always = dumpOfChanging(1_000);

let refused = {};
try {
  socket.request(16, 0x600, new Uint8Array(16), "make a device of no kind");
} catch (error) {
  if (error instanceof KernelError) refused = { errno: error.errno, detail: error.detail, message: error.message };
}
const granted = socket.setReceiveBuffer(8 << 20);

console.log(JSON.stringify({ ruleCount, quiet, quietLinks, changedLinks, afterBreak, once, always, refused, granted }));
