/**
 * Sends packets from the namespace in which it runs: a JSON array of packets.ts's TcpPacket as its argument, or
 * `scan TO PORT COUNT`: ACKs for connections that nobody has, from many sources of the clients' network.
 */
import { parseIpAddress } from "../../src/flow/address.ts";
import { RawIpv4Socket } from "../../src/kernel/raw-socket.ts";
import { type TcpPacket, tcpPacketBytes } from "../traffic/packets.ts";

const firstSource = 20;
const sources = 200;
const firstPort = 20_000;

const [, , what = "[]", to = "", port = "0", count = "0"] = process.argv;
const packets = what === "scan" ? scan(to, Number(port), Number(count)) : (JSON.parse(what) as TcpPacket[]);
using socket = new RawIpv4Socket();
let refused = 0;
for (const packet of packets) {
  const destination = parseIpAddress(packet.destination);
  if (destination === undefined) throw new Error(`${packet.destination} is no address`);
  if (!socket.send(tcpPacketBytes(packet), destination).ok) refused++;
}
process.stdout.write(`${JSON.stringify({ refused })}\n`);

function* scan(destination: string, destinationPort: number, packetCount: number): Generator<TcpPacket> {
  for (let index = 0; index < packetCount; index++) {
    yield {
      source: `198.51.100.${firstSource + (index % sources)}`,
      destination,
      sourcePort: firstPort + Math.floor(index / sources),
      destinationPort,
      sequence: index * 1_000,
      acknowledgement: index * 7_919,
      flags: "A",
    };
  }
}
