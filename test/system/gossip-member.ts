/** A member in a process of its own: `node gossip-member.ts NAME LABEL SEED...`. Says where it listens, then what it hears. */
import { lanConfig } from "../../src/gossip/config.ts";
import { Gossip } from "../../src/gossip/edge/node.ts";
import { openSockets } from "../../src/gossip/edge/sockets.ts";
import { systemClock } from "../../src/runtime/clock.ts";

const [name = "", label = "", ...seeds] = process.argv.slice(2);
const transport = await openSockets({ host: "127.0.0.1", port: 0 });
const gossip = new Gossip(
  {
    config: lanConfig,
    name,
    metadata: new Uint8Array(),
    seeds,
    envelope: { label, mode: "off", keyring: undefined },
    clock: systemClock,
    random: Math.random,
  },
  transport,
).start();
console.log(`listening ${gossip.self.profile.address}`);
for await (const event of gossip.events(new AbortController().signal)) {
  if (event.kind === "resync") for (const { profile } of event.members) console.log(`resync ${profile.name}`);
  else console.log(`${event.kind} ${event.member.profile.name}`);
}
