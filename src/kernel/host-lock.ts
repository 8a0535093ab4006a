/**
 * One process at a time may write baton's tables of a host, that is of a network namespace (invariant F5).
 *
 * The lock is an abstract unix socket: it belongs to the namespace just as the tables do, goes with its process however
 * that ends, and answers who holds it.
 */
import { once } from "node:events";
import { connect, createServer } from "node:net";

export type HostLock =
  | { readonly ok: true; readonly lock: AsyncDisposable }
  /** Who has it: "agent vm-a, process 4711". */
  | { readonly ok: false; readonly holder: string };

const path = "\0baton-kernel";
const answerTimeoutMs = 1_000;
const answerBytesMax = 200;

/** @param service who asks: "agent vm-a" */
export async function lockHost(service: string): Promise<HostLock> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.end(`${service}, process ${process.pid}`);
  });
  server.listen(path);
  try {
    await once(server, "listening");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EADDRINUSE")
      return { ok: false, holder: await askHolder() };
    throw error;
  }
  return {
    ok: true,
    lock: {
      async [Symbol.asyncDispose]() {
        await new Promise<void>((resolve) => server.close(() => resolve()));
      },
    },
  };
}

async function askHolder(): Promise<string> {
  const socket = connect(path).setEncoding("utf8").setTimeout(answerTimeoutMs);
  let answer = "";
  try {
    socket.on("timeout", () => socket.destroy());
    for await (const piece of socket) answer = `${answer}${String(piece)}`.slice(0, answerBytesMax);
  } catch {
    return "a process of baton that has just ended";
  }
  return answer === "" ? "a process of baton that does not answer" : answer;
}
