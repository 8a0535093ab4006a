/** Puts the agent's parts together. Who needs whom is here; what each does is in its own file. */
import { randomBytes } from "node:crypto";
import { muteSockets } from "../../src/dataplane/elements.ts";
import { logGroups } from "../../src/dataplane/names.ts";
import type { FlowKey } from "../../src/flow/flow.ts";
import { ConntrackEvents, conntrackUsage } from "../../src/kernel/conntrack.ts";
import { networkIdentity } from "../../src/kernel/network-identity.ts";
import { NflogSubscription } from "../../src/kernel/nflog.ts";
import type { LoggedPacket } from "../../src/kernel/nflog-source.ts";
import { RawIpv4Socket } from "../../src/kernel/raw-socket.ts";
import { canDestroyTcpSockets, openSockDiag } from "../../src/kernel/sock-diag.ts";
import { countTcpSockets, listTcpActivity } from "../../src/kernel/tcp-activity.ts";
import type { Fence } from "../../src/node/fence.ts";
import type { NodeHello } from "../../src/node/status.ts";
import { desiredStateCodec } from "../../src/rpc/desired-state.ts";
import { NodeClient, type NodeClientEvent } from "../../src/rpc/node-client.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { KeptState } from "../../src/runtime/kept-state.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { writeStateFile } from "../../src/runtime/state-file.ts";
import { version } from "../../src/runtime/version.ts";
import { Agent, type AgentDesired } from "./agent.ts";
import type { AgentConfig } from "./config.ts";
import { DrainWatch } from "./drain-watch.ts";
import { type FlowEvents, openFlowEvents } from "./flow-events.ts";
import type { FlowObserver } from "./flow-observer.ts";
import { FollowSets } from "./follow-sets.ts";
import { HostListings } from "./host-listings.ts";
import type { Hosting } from "./hosting/hosting.ts";
import type { KernelState } from "./kernel-state.ts";
import { LinkProbes } from "./link-probes.ts";
import { Marks } from "./marks.ts";
import { OfflineHook } from "./offline-hook.ts";
import { externalActivity, KernelConnections } from "./open-connections.ts";
import { answerProof } from "./proof-echo.ts";
import { visitEntries } from "./set-entries.ts";
import { SilenceWatch } from "./silence-watch.ts";
import { SupersededSockets } from "./superseded-sockets.ts";
import { UnknownPackets } from "./unknown-packets.ts";

export interface Surroundings {
  readonly config: AgentConfig;
  readonly kernel: KernelState;
  readonly log: Logger;
  readonly stateFile: string;
  /** Undefined: no tracker may run beside it. */
  readonly hosting: Hosting | undefined;
  /** Something without which the agent can't go on has ended: the process is to end, and to be started again. */
  fail(error: Error): void;
}

export interface Parts {
  readonly agent: Agent;
  /** Begins to talk to the coordinators; once. */
  connect(): NodeClient<"agent">;
  readonly observer: FlowObserver;
  readonly flowEvents: FlowEvents;
  /** Of the kernel, for events of connections. */
  readonly eventBufferBytes: number;
  readonly unknownPackets: UnknownPackets;
  readonly log: Logger;
}

export const stateCodec = desiredStateCodec("agent");

/** Whole, however large: a proof is judged by its size. */
const proofSnapBytes = 65_535;

export function assemble(surroundings: Surroundings, resources: AsyncDisposableStack): Parts {
  const { config, kernel, log } = surroundings;
  const boot = randomBytes(16);
  const channels = kernel.channels();
  const resets = canReset();
  if (!channels.includes("vxlan"))
    log.warn(
      "this kernel has no vxlan: channels need the other instance as a direct neighbour; modprobe vxlan adds it",
    );
  const listings = resources.use(new HostListings(surroundings.fail));
  const trackers = resources.use(new TrackerClient(config.trackers));
  const flowEvents = openFlowEvents({ config, boot, listings, log }, resources);
  const { observer } = flowEvents;
  const unknownPackets = new UnknownPackets({
    lookup: (keys, signal) => trackers.lookup(keys, [], { signal }),
    run: (commands) => kernel.run(commands),
    log,
  });
  const followSets = new FollowSets({
    watch: (query, signal) => trackers.watch(query, { signal }),
    lookup: (keys, atLeast, signal) => trackers.lookup(keys, atLeast, { signal }),
    run: (commands) => kernel.run(commands),
    hasInherited: (link) => kernel.hasInherited(link),
    visitEntries,
    onLoaded: () => agent.loaded(),
    log,
  });
  let client: NodeClient<"agent"> | undefined;
  const publish = observer.mark.bind(observer);
  const agent = new Agent({
    kernel,
    observer,
    followSets: resources.use(followSets),
    unknownPackets,
    marks: resources.use(new Marks({ publish, onPublished: () => agent.report(), log })),
    drainWatch: watchDrains(surroundings, { trackers, listings, observer, resets }, () => agent.report(), resources),
    offlineHook: offlineHookOf(surroundings, () => agent.report()),
    hosting: surroundings.hosting,
    linkProbes: new LinkProbes({
      marks: kernel.marks,
      socket: resources.use(new RawIpv4Socket()),
      clock: systemClock,
      log,
    }),
    channels,
    kept: resources.use(keptStateOf(surroundings)),
    boundPorts: (address) => listings.boundPorts(address),
    sockets: (address) => listings.sockets(address),
    trackedConnections: conntrackUsage,
    report: (status) => client?.report(status),
    log,
  });
  if (surroundings.hosting !== undefined) surroundings.hosting.onChange = () => agent.report();
  const helloOf = (held: Fence | undefined): NodeHello => ({
    name: config.name,
    kind: "agent",
    boot: boot.toString("hex"),
    version,
    kernel: networkIdentity(),
    ...(held !== undefined && { held }),
    devices: kernel.devices(),
    privateAddresses: config.privateAddresses,
    channels,
    publicMtu: 0,
    offlineHook: config.offlineHook !== undefined,
    resetsConnections: resets,
  });
  const hello = (): NodeHello => helloOf(agent.standing);
  const onEvent = (event: NodeClientEvent): void => log.info(event, "coordinator");
  const connect = (): NodeClient<"agent"> => {
    client = resources.use(new NodeClient({ endpoints: config.coordinators, codec: stateCodec, hello, onEvent }));
    agent.report();
    return client;
  };
  const { eventBufferBytes } = config.conntrack;
  return { agent, connect, observer, flowEvents, eventBufferBytes, unknownPackets, log };
}

function keptStateOf({ stateFile, log }: Surroundings): KeptState<AgentDesired> {
  return new KeptState<AgentDesired>({
    write: (desired) => writeStateFile(stateFile, desired, stateCodec),
    onError: (error) => log.error({ error }, "the state is not on the disk: a reboot would bring back an older one"),
  });
}

function offlineHookOf({ config, stateFile, log }: Surroundings, onReport: () => void): OfflineHook {
  const { command, timeoutMs = 0 } = config.offlineHook ?? {};
  return new OfflineHook({ command, timeoutMs, instance: config.name, file: `${stateFile}.offline`, onReport, log });
}

interface DrainSources {
  readonly trackers: TrackerClient;
  readonly listings: HostListings;
  readonly observer: FlowObserver;
  readonly resets: boolean;
}

function watchDrains(
  { config, kernel, log }: Surroundings,
  { trackers, listings, observer, resets }: DrainSources,
  onCounted: () => void,
  resources: AsyncDisposableStack,
): DrainWatch {
  const lookup = (keys: readonly FlowKey[], signal: AbortSignal) => trackers.lookup(keys, [], { signal });
  const diag = resources.use(openSockDiag());
  const silence = new SilenceWatch({
    activity: (address, state) => externalActivity(listTcpActivity(diag, address.private), address, state),
    sockets: countTcpSockets,
    clock: systemClock,
    log,
  });
  return new DrainWatch({
    connections: resources.use(new KernelConnections()),
    superseded: new SupersededSockets({ instance: config.name, lookup, clock: systemClock, log }),
    silence: resources.use(silence),
    opened: (address) => observer.opened(address),
    mute: (link, sockets) => kernel.run(muteSockets(link, sockets)),
    destroy: (socket) => listings.destroy(socket),
    resets,
    onCounted,
    onEmpty: (address) => observer.onEmpty(address),
    clock: systemClock,
    log,
  });
}

function canReset(): boolean {
  using diag = openSockDiag();
  return canDestroyTcpSockets(diag);
}

/** Events of the kernel begin before the first state is applied, so that none is missed between a listing and them. */
export async function subscribe(
  parts: Parts,
  fail: (error: Error) => void,
  resources: AsyncDisposableStack,
): Promise<void> {
  const { agent, observer, unknownPackets, log } = parts;
  const raw = resources.use(new RawIpv4Socket());
  resources.use(
    await ConntrackEvents.open({
      handle: (rows) => observer.onConnections(rows),
      overflow: () => observer.onOverflow(),
      fail,
      receiveBufferBytes: parts.eventBufferBytes,
    }),
  );
  const unknown = (packets: readonly LoggedPacket[]) => {
    for (const packet of packets) unknownPackets.onPacket(packet.payload);
  };
  resources.use(await NflogSubscription.open({ groups: [logGroups.unknown], handle: unknown, fail }));
  const proofs = (packets: readonly LoggedPacket[]) => echo(packets, agent, raw, log);
  const groups = [logGroups.proofAtOwner];
  resources.use(await NflogSubscription.open({ groups, snapBytes: proofSnapBytes, handle: proofs, fail }));
}

function echo(packets: readonly LoggedPacket[], agent: Agent, raw: RawIpv4Socket, log: Logger): void {
  for (const packet of packets) {
    const answer = agent.state === undefined ? undefined : answerProof(packet.payload, agent.state);
    if (answer === undefined) continue;
    const outcome = raw.send(answer.packet, answer.destination);
    if (!outcome.ok) log.warn({ errno: outcome.errno }, "a channel proof could not be answered");
  }
}
