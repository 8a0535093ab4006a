/**
 * Short connections: `serve PORT` takes and closes them for ever; `connect ADDRESS PORT RATE SECONDS` opens and closes so
 * many a second, and prints how many came to be.
 */
import { accept, close, connect, endpoint, listen } from "../support/blocking-sockets.ts";

const [role, ...args] = process.argv.slice(2);
/** Where the sender is too early it sleeps; shorter than this it doesn't. */
const leastSleepMs = 1;

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function connectAndClose(to: Uint8Array): boolean {
  const fd = connect(to);
  if (fd !== undefined) close(fd);
  return fd !== undefined;
}

function serve(port: number): never {
  const listener = listen(endpoint("0.0.0.0", port));
  process.stdout.write("listening\n");
  for (;;) {
    const fd = accept(listener);
    if (fd !== undefined) close(fd);
  }
}

function connectFor(
  to: Uint8Array,
  perSecond: number,
  seconds: number,
): { opened: number; failed: number; ms: number } {
  const startMs = performance.now();
  let opened = 0;
  let failed = 0;
  for (let nowMs = startMs; nowMs < startMs + seconds * 1_000; nowMs = performance.now()) {
    const due = ((nowMs - startMs) / 1_000) * perSecond;
    if (opened + failed > due) sleep(Math.max(leastSleepMs, ((opened + failed - due) / perSecond) * 1_000));
    else if (connectAndClose(to)) opened++;
    else failed++;
  }
  return { opened, failed, ms: performance.now() - startMs };
}

if (role === "serve") serve(Number(args[0]));
const [address = "", port, perSecond, seconds] = args;
const result = connectFor(endpoint(address, Number(port)), Number(perSecond), Number(seconds));
process.stdout.write(`${JSON.stringify(result)}\n`);
