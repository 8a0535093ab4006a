/**
 * A lab of its own for each suite: names never collide, and all of it is gone at the end, whatever happened.
 * What is asked of baton is asked as a user would, by `bin/baton`; what is judged is judged by test/traffic.
 */
import { setTimeout as delay } from "node:timers/promises";
import { runCommand } from "../../services/lab/command.ts";
import { type BatonResult, type RemapJson, runBaton } from "../../services/lab/demo-baton.ts";
import { createLab, hostOf, type OpenLab, removeLab, serviceOf } from "../../services/lab/lab.ts";
import { defaultOptions, type LabOptions } from "../../services/lab/options.ts";
import { logExcerpt } from "../../services/lab/services.ts";
import { Client, startServer } from "../traffic/driver.ts";

export const publicAddress = "203.0.113.10";
export const clientAddress = "198.51.100.2";
export const privateOf = { "vm-a": "10.77.0.11", "vm-b": "10.77.0.112" } as const;

const startTimeoutMs = 60_000;
const commandTimeoutMs = 60_000;
const cleanUpTimeoutMs = 30_000;
const pollMs = 50;

export class LabFixture implements AsyncDisposable {
  readonly lab: OpenLab;
  readonly #cleanUp: AsyncDisposableStack;

  private constructor(lab: OpenLab, cleanUp: AsyncDisposableStack) {
    this.lab = lab;
    this.#cleanUp = cleanUp;
  }

  /**
   * With measured servers on all instances. `theme`: letters that no other suite uses. `environment`: what its services
   * begin with besides this process's own; whom a variable does not concern does not look at it.
   */
  static async start(
    theme: string,
    options: Partial<LabOptions> = {},
    environment: NodeJS.ProcessEnv = {},
  ): Promise<LabFixture> {
    const name = `baton-t-${theme}`;
    await removeLab(name, AbortSignal.timeout(cleanUpTimeoutMs));
    await using cleanUp = new AsyncDisposableStack();
    cleanUp.defer(async () => {
      await removeLab(name, AbortSignal.timeout(cleanUpTimeoutMs));
    });
    const wanted = { ...defaultOptions, instances: 2, trackers: 1, ...options, name };
    const lab = await withEnvironment(environment, () =>
      createLab(wanted, () => undefined, AbortSignal.timeout(startTimeoutMs)),
    );
    const fixture = new LabFixture(lab, cleanUp.move());
    for (const host of lab.plan.hosts) if (host.role === "instance") await fixture.server(host.name);
    return fixture;
  }

  namespace(host: string): string {
    return hostOf(this.lab, host).namespace;
  }

  /** A measured server that greets with the host's name. */
  async server(host: string): Promise<void> {
    this.#cleanUp.use(await startServer(this.inside(host), host));
  }

  client(host = "client1"): Client {
    return this.#cleanUp.use(new Client(this.inside(host)));
  }

  inside(host: string): string[] {
    return ["ip", "netns", "exec", this.namespace(host)];
  }

  exec(host: string, ...command: readonly string[]): Promise<string> {
    const [program = "", ...args] = [...this.inside(host), ...command];
    return runCommand(program, args);
  }

  nft(host: string, ruleset: string): Promise<string> {
    return this.exec(host, "nft", ruleset);
  }

  baton(...args: readonly string[]): Promise<BatonResult> {
    return runBaton(this.lab, args, { signal: AbortSignal.timeout(commandTimeoutMs) });
  }

  /** Must succeed. `wait`: until that phase. */
  async remap(to: string, wait: "draining" | "completed" | "no", ...more: readonly string[]): Promise<RemapJson> {
    const waiting = wait === "no" ? [] : ["--wait", wait];
    const linger = more.includes("--linger") ? [] : ["--linger", "200ms"];
    const result = await this.baton("remap", publicAddress, "--to", to, "--yes", ...linger, ...waiting, ...more);
    if (result.code !== 0) throw new Error(await this.explain(result));
    return result.json.at(-1) as RemapJson;
  }

  async show(id: string): Promise<RemapJson> {
    const result = await this.baton("remaps", "show", id);
    if (result.code !== 0) throw new Error(await this.explain(result));
    return result.json.at(-1) as RemapJson;
  }

  /** Follows the remap until `condition` holds; fails when the remap ends, or 30 s pass, before it does. */
  async follow(id: string, condition: (remap: RemapJson) => boolean, withinMs = 30_000): Promise<RemapJson> {
    const over = new AbortController();
    let latest: RemapJson | undefined;
    let found: RemapJson | undefined;
    const onJson = (value: unknown) => {
      latest = value as RemapJson;
      if (found !== undefined || !condition(latest)) return;
      found = latest;
      over.abort();
    };
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(withinMs)]);
    const ended = await runBaton(this.lab, ["remaps", "watch", id], { signal, onJson }).catch(() => undefined);
    if (found !== undefined) return found;
    const why = ended === undefined ? `not within ${withinMs} ms` : `it ended: ${ended.stderr}`;
    throw new Error(`remap ${id}: ${why}; it is ${JSON.stringify(latest)}\n${this.logs()}`);
  }

  /** The ends of all services' logs: what a failure can't be understood without. */
  logs(): string {
    return this.lab.plan.services
      .map((service) => `--- ${service.name}\n${logExcerpt(this.lab, serviceOf(this.lab, service.name))}`)
      .join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanUp.disposeAsync();
  }

  async explain(result: BatonResult): Promise<string> {
    return `exit code ${result.code}: ${result.stderr} ${JSON.stringify(result.json.at(-1))}\n${this.logs()}`;
  }
}

/** Services inherit this process's environment. */
async function withEnvironment<T>(environment: NodeJS.ProcessEnv, act: () => Promise<T>): Promise<T> {
  const before = Object.keys(environment).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, environment);
  try {
    return await act();
  } finally {
    for (const [name, value] of before)
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
  }
}

/** Asks until the answer is true. Fails after `withinMs`, with what `what` says. */
export async function until(
  what: string,
  withinMs: number,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const endMs = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await delay(pollMs);
  }
}
