/** Checks of what this host can reach: coordinators and NATS. */
import { connect } from "node:net";
import { checkHealth } from "../../../src/rpc/health-client.ts";
import type { CheckResult } from "./check.ts";

const reachTimeoutMs = 3_000;
const natsPortDefault = 4222;
/** A NATS server's greeting is one line, well below this. */
const greetingBytesMax = 16_384;

export async function checkCoordinator(endpoint: string, signal: AbortSignal): Promise<CheckResult> {
  const name = "coordinator";
  const health = await checkHealth(endpoint, { signal, deadlineMs: reachTimeoutMs });
  if (!health.ok) {
    const next = "check that it runs and that nothing between drops its packets";
    return { name, state: "failed", found: `${endpoint}: ${health.message}`, next };
  }
  if (health.serving) return { name, state: "ok", found: `${endpoint} serves` };
  return { name, state: "limited", found: `${endpoint} is up, but not ready`, next: "its /readyz names the reason" };
}

/** Reads the INFO line that a NATS server sends first. */
export async function checkNats(server: string): Promise<CheckResult> {
  const name = "nats";
  const { host, port } = natsAddress(server);
  const { promise, resolve } = Promise.withResolvers<CheckResult>();
  const fail = (cause: string): void =>
    resolve({ name, state: "failed", found: `${server}: ${cause}`, next: "check that nats-server runs there" });
  const socket = connect({ host, port, timeout: reachTimeoutMs });
  let greeting = "";
  socket.on("timeout", () => fail(`no greeting within ${reachTimeoutMs} ms`));
  socket.on("error", (error) => fail(error.message));
  socket.on("data", (chunk: Buffer) => {
    greeting += chunk.toString("latin1");
    if (greeting.includes("\n") || greeting.length > greetingBytesMax) resolve(judgeGreeting(server, greeting));
  });
  socket.on("close", () => fail("closed without a greeting"));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

export function natsAddress(server: string): { readonly host: string; readonly port: number } {
  const bare = server.replace(/^[a-z]+:\/\//, "");
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(bare);
  return { host: match?.[1] ?? match?.[2] ?? bare, port: Number(match?.[3] ?? natsPortDefault) };
}

export function judgeGreeting(server: string, greeting: string): CheckResult {
  const name = "nats";
  const [line = ""] = greeting.split("\r\n");
  const info = parseInfo(line);
  if (info === undefined)
    return { name, state: "failed", found: `${server} is no NATS server`, next: "check the address and port" };
  const found = `${server}, version ${String(info["version"])}`;
  if (info["jetstream"] === true) return { name, state: "ok", found: `${found}, JetStream` };
  return { name, state: "failed", found: `${found}, without JetStream`, next: "start nats-server with -js" };
}

function parseInfo(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith("INFO ")) return undefined;
  try {
    const info: unknown = JSON.parse(line.slice("INFO ".length));
    return typeof info === "object" && info !== null ? (info as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
