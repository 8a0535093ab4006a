/** Answers proofs in a host as the owner's agent does. Arguments: the host's address, the link's id. */

import { answerProof } from "../../../services/agent/proof-echo.ts";
import { parseTcpPacket } from "../../../src/dataplane/packet.ts";
import { type IpAddress, parseIpAddress } from "../../../src/flow/address.ts";
import { NflogSubscription } from "../../../src/kernel/nflog.ts";
import { Nftables } from "../../../src/kernel/nftables.ts";
import { RawIpv4Socket } from "../../../src/kernel/raw-socket.ts";
import type { AgentState } from "../../../src/node/state.ts";

const [local = "", link = ""] = process.argv.slice(2);
const group = 7702;
const probeSource = address("192.0.2.1");
const state: AgentState = {
  fabric: [],
  probeSource,
  addresses: [],
  links: [
    {
      id: Number(link),
      kind: "direct",
      peer: "vm-b",
      localPrivate: address(local),
      peerPrivate: address("10.77.0.12"),
      peerLinkAddress: "",
      mtu: 1500,
      ownerEnd: true,
      returnPath: "channel",
    },
  ],
  marks: [],
};

const nftables = new Nftables();
const rules = nftables.run(`
add table inet answers
add chain inet answers input { type filter hook input priority filter; }
add rule inet answers input ip saddr ${probeSource} log group ${group} snaplen 65535
add rule inet answers input ip saddr ${probeSource} drop
`);
if (!rules.ok) throw new Error(rules.message);
const raw = new RawIpv4Socket();
await NflogSubscription.open({
  groups: [group],
  snapBytes: 65_535,
  handle(packets) {
    for (const { payload } of packets) {
      const seen = parseTcpPacket(payload);
      const answer = answerProof(payload, state);
      const sent = answer === undefined ? undefined : raw.send(answer.packet, answer.destination);
      const { sourcePort, destinationPort, flags } = seen ?? {};
      console.log(
        JSON.stringify({ bytes: payload.length, sourcePort, destinationPort, flags, intact: seen?.intact, sent }),
      );
    }
  },
  fail(error) {
    throw error;
  },
});
console.log(JSON.stringify("listening"));

function address(text: string): IpAddress {
  const parsed = parseIpAddress(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}
