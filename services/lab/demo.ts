/**
 * `npm run demo`: a lab, connections of several kinds, a remap amid them, and what each connection saw of it.
 *
 * The exit code is 0 only when every connection that was to be kept was kept. The judge is the measuring client of
 * test/traffic, which imports nothing of baton. Whatever happens, Ctrl-C too, nothing is left behind.
 */
import { isAbort, sleep, waitFor } from "../../src/runtime/retry.ts";
import { Client, startServer } from "../../test/traffic/driver.ts";
import { fabricPrefixes } from "./addresses.ts";
import { type RemapJson, runBaton } from "./demo-baton.ts";
import {
  acts,
  clientHost,
  faultsOf,
  groups,
  newServer,
  oldServer,
  publicAddress,
  type Scene,
  visitEveryMs,
} from "./demo-scene.ts";
import { Screen } from "./demo-screen.ts";
import { readCardWatch, startCardWatch } from "./demo-watch.ts";
import { createLab, hostOf, type OpenLab, removeLab } from "./lab.ts";
import { LabError } from "./lab-error.ts";
import { defaultOptions } from "./options.ts";

const labName = "baton-demo";
const lingerMs = 1_000;
const redrawMs = 200;
/** How long both generations of connections are watched side by side. */
const sideBySideMs = 3_000;
/** Old connections end kind by kind. */
const betweenEndsMs = 700;
const beforeRemapMs = 1_500;
const phaseTimeoutMs = 60_000;
const cleanUpTimeoutMs = 20_000;
const interrupted = 130;

/** What goes on, for whoever draws it. */
class Show {
  readonly #client: Client;
  readonly #screen: Screen;
  readonly #startMs = performance.now();
  remap: RemapJson | undefined;

  constructor(client: Client, screen: Screen) {
    this.#client = client;
    this.#screen = screen;
  }

  async scene(): Promise<Scene> {
    const { kinds, visits } = await this.#client.report();
    const elapsedMs = performance.now() - this.#startMs;
    return { elapsedMs, kinds, visits, ...(this.remap === undefined ? {} : { remap: this.remap }) };
  }

  async draw(moment: boolean): Promise<void> {
    this.#screen.show(await this.scene(), moment);
  }

  /** Draws until `done`. */
  async until(done: Promise<unknown>, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const stop = () => over.abort();
    done.then(stop, stop);
    const either = AbortSignal.any([signal, over.signal]);
    while (!either.aborted) {
      await this.draw(false);
      await sleep(redrawMs, either).catch(() => undefined);
    }
    await done;
  }
}

async function openAll(client: Client, group: string, counts: "before" | "after"): Promise<void> {
  for (const act of acts) {
    await client.open({ group, to: publicAddress, count: act[counts], ...act.open });
  }
}

/** Follows the remap until it has ended; every change is drawn. */
async function watchRemap(lab: OpenLab, show: Show, id: string, signal: AbortSignal): Promise<void> {
  const onJson = (value: unknown) => {
    const remap = value as RemapJson;
    const moment = remap.phase !== show.remap?.phase;
    show.remap = remap;
    if (moment) void show.draw(true).catch(() => undefined);
  };
  const { code, stderr } = await runBaton(lab, ["remaps", "watch", id], { signal, onJson });
  if (code !== 0) throw new LabError(`baton remaps watch ended with ${code}: ${stderr}`);
}

async function startRemap(lab: OpenLab, signal: AbortSignal): Promise<RemapJson> {
  const args = ["remap", publicAddress, "--to", newServer, "--linger", `${lingerMs}ms`, "--yes"];
  const { code, json, stderr } = await runBaton(lab, args, { signal });
  const remap = json.at(-1) as RemapJson | undefined;
  if (code !== 0 || remap === undefined) throw new LabError(`baton remap ended with ${code}: ${stderr}`);
  return remap;
}

async function perform(lab: OpenLab, client: Client, screen: Screen, signal: AbortSignal): Promise<readonly string[]> {
  const namespace = hostOf(lab, clientHost).namespace;
  const show = new Show(client, screen);
  screen.title(`\nOpening connections from ${clientHost} to ${publicAddress}, which is ${oldServer}`);
  await openAll(client, groups.old, "before");
  await client.visit(publicAddress, visitEveryMs);
  await show.until(sleep(beforeRemapMs, signal), signal);
  await show.draw(true);
  await client.mark();
  await startCardWatch(namespace, fabricPrefixes[0]);

  screen.title(`\n$ baton remap ${publicAddress} --to ${newServer} --linger 1s`);
  show.remap = await startRemap(lab, signal);
  const watching = watchRemap(lab, show, show.remap.id, signal);
  const draining = waitFor(() => isPast(show.remap, "switching"), {
    signal,
    timeoutMs: phaseTimeoutMs,
    what: "the switch",
  });
  await show.until(Promise.race([draining, watching]), signal);
  if (show.remap.phase !== "aborted") {
    await openAll(client, groups.fresh, "after");
    await show.until(sleep(sideBySideMs, signal), signal);
    await show.draw(true);
    await client.rest();
    await show.until(closeOld(client, signal), signal);
    await show.draw(true);
  }
  await show.until(watching, signal);
  const card = await readCardWatch(namespace);
  await client.close(groups.fresh);
  const scene = { ...(await show.scene()), card };
  const faults = faultsOf(scene);
  screen.report(scene, faults);
  return faults;
}

function isPast(remap: RemapJson | undefined, phase: string): boolean {
  return remap?.phaseAt[phase] !== undefined && remap.phase !== phase;
}

/** Kind by kind, so that it can be seen that those left go on. */
async function closeOld(client: Client, signal: AbortSignal): Promise<void> {
  for (const act of acts) {
    await client.close(groups.old, act.open.kind);
    await sleep(betweenEndsMs, signal);
  }
}

async function main(): Promise<number> {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => controller.abort());
  const { signal } = controller;
  using screen = new Screen(process.stdout);
  try {
    return await run(screen, signal);
  } catch (error) {
    if (isAbort(error, signal)) return interrupted;
    process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
    return signal.aborted ? interrupted : 1;
  }
}

async function run(screen: Screen, signal: AbortSignal): Promise<number> {
  await removeLab(labName, signal);
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(async () => {
    await removeLab(labName, AbortSignal.timeout(cleanUpTimeoutMs));
    screen.say("The lab is gone again.");
  });
  screen.title(`baton: a public address moves from ${oldServer} to ${newServer} while its connections go on`);
  screen.say("Starting a lab of network namespaces on this machine:");
  const lab = await createLab({ ...defaultOptions, name: labName }, (line) => screen.say(`  ${line}`), signal);
  const inside = (host: string) => ["ip", "netns", "exec", hostOf(lab, host).namespace];
  for (const server of [oldServer, newServer]) cleanUp.use(await startServer(inside(server), server));
  const client = cleanUp.use(new Client(inside(clientHost)));
  const faults = await perform(lab, client, screen, signal);
  return faults.length === 0 ? 0 : 1;
}

process.exitCode = await main();
