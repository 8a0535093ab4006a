/**
 * A gateway's process: puts the parts together, feeds them, and leaves the kernel as it is when it ends, for the
 * packets of live connections pass there.
 */
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate, setInterval } from "node:timers/promises";
import type { GatewayDevices } from "../../src/dataplane/gateway-ruleset.ts";
import { logGroups } from "../../src/dataplane/names.ts";
import { proofSnapBytes } from "../../src/dataplane/proof.ts";
import { parsePrefix } from "../../src/flow/address.ts";
import { claimHost, explainKernelError } from "../../src/kernel/host-claim.ts";
import { listDevices, requireLink } from "../../src/kernel/link.ts";
import { NetlinkSocket, netlinkFamily } from "../../src/kernel/netlink.ts";
import { NflogSubscription } from "../../src/kernel/nflog.ts";
import { Nftables } from "../../src/kernel/nftables.ts";
import { RawIpv4Socket } from "../../src/kernel/raw-socket.ts";
import { deviceSysctlPath, readSysctl, SavedSysctls } from "../../src/kernel/sysctl.ts";
import type { NodeHello } from "../../src/node/status.ts";
import { type DesiredStateOf, desiredStateCodec } from "../../src/rpc/desired-state.ts";
import { NodeClient, type NodeClientEvent } from "../../src/rpc/node-client.ts";
import { serveAdmin } from "../../src/runtime/admin.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { loadConfig, printConfig } from "../../src/runtime/config.ts";
import { KeptState } from "../../src/runtime/kept-state.ts";
import { createLog, type Logger } from "../../src/runtime/log.ts";
import { isAbort } from "../../src/runtime/retry.ts";
import { prepareStateDirectory, readStateFile, writeStateFile } from "../../src/runtime/state-file.ts";
import { version } from "../../src/runtime/version.ts";
import { type GatewayConfig, gatewayConfigSchema } from "./config.ts";
import { Gateway } from "./gateway.ts";
import { KernelTable } from "./kernel-table.ts";
import { gatewayMetrics } from "./metrics.ts";
import { Prover } from "./prover.ts";

export interface GatewayRun {
  readonly configFile: string;
  /** Print the configuration and end. */
  readonly printConfig: boolean;
  /** Remove all that the gateway has left on this host, and end. */
  readonly cleanup: boolean;
  readonly signal: AbortSignal;
}

/** Between two packets of a proof, and between two looks at what is retiring. */
const tickMs = 100;
/** Between two looks whether the rules are still in the kernel. */
const mendTicks = 10;
const bootBytes = 16;
const codec = desiredStateCodec("gateway");
const notOnDisk = "the state is not on the disk: a reboot would bring back an older one";

/** The process's exit code. */
export async function run(options: GatewayRun): Promise<number> {
  const loaded = loadConfig(gatewayConfigSchema, options.configFile, process.env);
  if (!loaded.ok) {
    process.stderr.write(`${loaded.errors.join("\n")}\n`);
    return 2;
  }
  const config = loaded.value;
  if (options.printConfig) {
    process.stdout.write(printConfig(gatewayConfigSchema, config));
    return 0;
  }
  const log = createLog({ service: "gateway", name: config.name, level: config.log.level });
  try {
    await using _claim = await claimHost(`gateway ${config.name}`);
    if (options.cleanup) return await cleanUp(config, log);
    await serve(config, log, options.signal);
    return 0;
  } catch (error) {
    throw explainKernelError(error);
  }
}

async function serve(config: GatewayConfig, log: Logger, signal: AbortSignal): Promise<void> {
  prepareStateDirectory(config.stateDirectory);
  using route = new NetlinkSocket(netlinkFamily.route);
  for (const device of [config.publicDevice, config.fabricDevice]) requireLink(route, device);
  using nftables = new Nftables();
  using raw = new RawIpv4Socket();
  const sysctls = savedSysctls(config, log);
  const table = new KernelTable(nftables);
  const prover = new Prover({ gateway: config.name, send: (packet, destination) => raw.send(packet, destination) });
  const publicPrefixes = config.publicPrefixes.flatMap((text) => parsePrefix(text) ?? []);
  const gateway = new Gateway({ table, devices: devicesOf(config, sysctls), publicPrefixes, prover, log });
  using kept = new KeptState<DesiredStateOf<"gateway">>({
    write: (desired) => writeStateFile(stateFile(config), desired, codec),
    onError: (error) => log.error({ error }, notOnDisk),
  });
  let connected = (): boolean => false;
  await using _admin = await adminOf(config, {
    ready: () => [...gateway.notReady(), ...(kept.behind ? [notOnDisk] : [])],
    registry: gatewayMetrics({
      counters: () => table.counters(),
      status: () => gateway.status(),
      connected: () => connected(),
      rewritten: () => gateway.rewritten,
    }),
  });
  gateway.start(await keptState(config, log));
  // Only now, for without the rules a forwarding host would carry what the gateway must not.
  sysctls.apply(forwardingPaths(config).map((path) => ({ path, value: "1" })));

  await using client = new NodeClient({
    endpoints: config.coordinators,
    codec,
    hello: helloOf(config, table, route),
    onEvent: (event) => logEvent(log, event),
  });
  connected = () => client.endpoint !== undefined;
  const report = (): void => client.report(gateway.status());
  const failed = new AbortController();
  await using _proofs = await NflogSubscription.open({
    groups: [logGroups.proofAtGateway],
    snapBytes: proofSnapBytes,
    handle(packets) {
      if (packets.filter((packet) => prover.receive(packet.payload)).length > 0) report();
    },
    fail: (error) => failed.abort(error),
  });
  report();
  log.info({ version }, "started");
  await together(signal, failed, [
    (both) => applyStates(client.states(both), gateway, report, kept),
    (both) => tick(gateway, prover, report, both),
  ]);
}

/**
 * The report goes before the state is on the disk: a flip waits for it, and the kernel holds the fence already. The
 * next state waits for the disk.
 */
async function applyStates(
  states: AsyncIterable<DesiredStateOf<"gateway">>,
  gateway: Gateway,
  report: () => void,
  kept: KeptState<DesiredStateOf<"gateway">>,
): Promise<void> {
  for await (const desired of states) {
    const applied = gateway.apply(desired);
    report();
    if (!applied) continue;
    await setImmediate();
    await kept.keep(desired);
  }
}

async function tick(gateway: Gateway, prover: Prover, report: () => void, signal: AbortSignal): Promise<void> {
  let ticks = 0;
  for await (const _ of setInterval(tickMs, undefined, { signal })) {
    const mended = ++ticks % mendTicks === 0 && gateway.mend();
    const changes = [mended, prover.send(), gateway.retire(systemClock.monotonicMs())];
    if (changes.includes(true)) report();
  }
}

/** Runs jobs until the signal aborts; one that fails ends the others, and its error is thrown. */
async function together(
  signal: AbortSignal,
  failed: AbortController,
  jobs: readonly ((both: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const both = AbortSignal.any([signal, failed.signal]);
  const ends = jobs.map(async (job) => {
    try {
      await job(both);
    } catch (error) {
      if (!isAbort(error, both)) failed.abort(error);
    }
  });
  await Promise.all(ends);
  if (failed.signal.aborted) throw failed.signal.reason;
}

/** Forwarding is baton's doing on those that had it off. */
function devicesOf(config: GatewayConfig, sysctls: SavedSysctls): GatewayDevices {
  const { publicDevice, fabricDevice } = config;
  const guardedDevices = [publicDevice, fabricDevice].filter((device) => {
    const path = deviceSysctlPath(4, device, "forwarding");
    return (sysctls.foundValue(path) ?? readSysctl(path)) === "0";
  });
  return { publicDevice, fabricDevice, guardedDevices };
}

function forwardingPaths(config: GatewayConfig): readonly string[] {
  return [config.publicDevice, config.fabricDevice].map((device) => deviceSysctlPath(4, device, "forwarding"));
}

async function keptState(config: GatewayConfig, log: Logger): Promise<DesiredStateOf<"gateway"> | undefined> {
  const content = await readStateFile(stateFile(config), codec);
  switch (content.kind) {
    case "found":
      return content.value;
    case "missing":
      return undefined;
    case "damaged":
      log.warn(content.message);
      return undefined;
    default:
      return content satisfies never;
  }
}

function helloOf(config: GatewayConfig, table: KernelTable, route: NetlinkSocket): () => NodeHello {
  const boot = randomBytes(bootBytes).toString("hex");
  return () => {
    const devices = listDevices(route);
    const held = table.fence;
    return {
      name: config.name,
      kind: "gateway",
      boot,
      version,
      ...(held !== undefined && { held }),
      devices: devices.map(({ name, linkAddress, mtu, addresses }) => ({ name, linkAddress, mtu, addresses })),
      privateAddresses: [],
      channels: [],
      publicMtu: devices.find((device) => device.name === config.publicDevice)?.mtu ?? 0,
    };
  };
}

async function adminOf(
  config: GatewayConfig,
  options: Omit<Parameters<typeof serveAdmin>[0], "listen">,
): Promise<AsyncDisposable | undefined> {
  return config.admin === undefined ? undefined : await serveAdmin({ ...options, listen: config.admin.listen });
}

async function cleanUp(config: GatewayConfig, log: Logger): Promise<number> {
  savedSysctls(config, log).restore();
  using nftables = new Nftables();
  const outcome = new KernelTable(nftables).remove();
  if (!outcome.ok) {
    log.error({ message: outcome.message }, "the gateway's tables could not be removed");
    return 1;
  }
  for (const file of [stateFile(config), sysctlFile(config)]) await rm(file, { force: true });
  log.info("removed all that the gateway had on this host");
  return 0;
}

function stateFile(config: GatewayConfig): string {
  return join(config.stateDirectory, "gateway.state");
}

function sysctlFile(config: GatewayConfig): string {
  return join(config.stateDirectory, "gateway-sysctls.json");
}

function savedSysctls(config: GatewayConfig, log: Logger): SavedSysctls {
  return new SavedSysctls(sysctlFile(config), (message) => log.error(message));
}

function logEvent(log: Logger, event: NodeClientEvent): void {
  const { kind, ...details } = event;
  switch (kind) {
    case "connected":
      log.info(details, "connected to a coordinator");
      break;
    case "not-leader":
      log.info(details, "that coordinator does not lead");
      break;
    case "lost":
      log.warn(details, "no coordinator; forwarding goes on as it is");
      break;
    case "unreadable-state":
      log.error(details, "a state can't be read; is the coordinator of another version?");
      break;
    default:
      kind satisfies never;
  }
}
