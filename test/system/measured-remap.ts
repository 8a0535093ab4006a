/** One remap amid busy connections, captured at both ends, and what is wrong with it. */
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import { type CardCounts, readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import type { Client } from "../traffic/driver.ts";
import type { KindSummary } from "../traffic/protocol.ts";
import { type FlowDelay, flowDelays } from "../traffic/silence.ts";
import { Capture } from "./capture.ts";
import { clientAddress, type LabFixture, privateOf, publicAddress, until } from "./lab-fixture.ts";

export interface MeasuredRemap {
  readonly remap: RemapJson;
  readonly kinds: readonly KindSummary[];
  readonly delays: readonly FlowDelay[];
  readonly card: CardCounts;
}

export const longestSilenceMs = 100;

const rhythmMs = 20;
/** Messages of each busy connection that must have come after the switch. */
const messagesAfter = 25;
/** Edges of the captures that are not judged; the switch is far from both. */
const headMs = 50;
const tailMs = 300;

/** Opens the connections at vm-a and remaps to vm-b. The connections stay. */
export async function measureRemap(
  fixture: LabFixture,
  client: Client,
  counts: { readonly busy: number; readonly idle: number },
): Promise<MeasuredRemap> {
  const [group, to] = ["old", publicAddress];
  const pushing = Math.ceil(counts.busy / 2);
  await client.open({ group, kind: "push", to, count: pushing, intervalMs: rhythmMs });
  await client.open({ group, kind: "websocket", to, count: counts.busy - pushing, intervalMs: rhythmMs });
  await client.open({ group, kind: "echo", to, count: counts.idle });
  await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
  await using atOwner = await Capture.start(
    fixture,
    "vm-a",
    "eth0",
    `tcp and src host ${privateOf["vm-a"]} and dst host ${clientAddress}`,
  );
  await using atClient = await Capture.start(fixture, "client1", "eth0", `tcp and src host ${to}`);
  const remap = await fixture.remap("vm-b", "draining");
  const seen = await messages(client);
  await until("all busy connections have gone on, or broken", 10_000, async () => {
    const now = await messages(client);
    return now.every((record, i) => record.broken || record.messages >= (seen[i]?.messages ?? 0) + messagesAfter);
  });
  const [arrived, sent] = [await atClient.packets(), await atOwner.packets()];
  const ends = { atOwner: sent, atClient: arrived, ownerPrivate: privateOf["vm-a"], publicAddress: to };
  const kinds = await client.ping(group);
  return {
    remap,
    kinds,
    delays: flowDelays({ ...ends, headMs, tailMs }),
    card: await readCardWatch(fixture.namespace("client1")),
  };
}

async function messages(client: Client): Promise<{ messages: number; broken: boolean }[]> {
  const { records } = await client.report({ group: "old", records: true });
  const busy = records.filter((record) => record.kind !== "echo");
  return busy.map((record) => ({ messages: record.messages, broken: record.state === "failed" }));
}

/** Empty: no connection broke, none was silent for too long, nothing was lost, and nothing leaked. */
export function faultsOf(measured: MeasuredRemap): string[] {
  const { kinds, delays, card } = measured;
  const late = delays.filter((flow) => flow.longestDelayMs >= longestSilenceMs);
  const lost = delays.reduce((sum, flow) => sum + flow.lost, 0);
  const longest = Math.max(0, ...delays.map((flow) => flow.longestDelayMs));
  return [
    ...kinds.flatMap((kind) => Object.entries(kind.failures).map(([why, count]) => `${count} ${kind.kind}: ${why}`)),
    ...(late.length > 0 ? [`${late.length} flows were silent for up to ${Math.round(longest)} ms`] : []),
    ...(lost > 0 ? [`${lost} segments were lost`] : []),
    ...(card.privateSource > 0 ? [`${card.privateSource} packets with a private source`] : []),
    ...(card.resets > 0 ? [`${card.resets} resets`] : []),
  ];
}
