/** Makes the kernel forget all connections of an address that it tracks, in the namespace in which it runs. */
import { parseIpAddress } from "../../src/flow/address.ts";
import { deleteConntrack, dumpConntrack, openConntrack } from "../../src/kernel/conntrack.ts";

const localAddress = parseIpAddress(process.argv[2] ?? "");
if (localAddress === undefined) throw new Error("usage: forget-connections.ts ADDRESS");
using netlink = openConntrack();
const records = [...dumpConntrack(netlink, { protocol: "tcp", localAddress })];
const forgotten = records.filter((record) => deleteConntrack(netlink, record) === "done").length;
process.stdout.write(`${JSON.stringify({ forgotten })}\n`);
