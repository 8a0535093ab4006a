/** Route events through the receiving worker; prints what came, also when the main thread was away for long. */
import { once } from "node:events";
import { deleteRoute, replaceRoute } from "../../../src/kernel/route.ts";
import { openRouteSocket } from "../../../src/kernel/rtnetlink.ts";
import { EventWorker, type KernelEvent } from "../../../src/kernel/worker-stream.ts";
import type { RouteEventOptions } from "./route-event-source.ts";

const module = new URL("./route-event-source.ts", import.meta.url);
const manyRoutes = 20_000;
const table = 7001;
const deadline = AbortSignal.timeout(20_000);

class Recorder {
  readonly events: KernelEvent<readonly string[]>[] = [];
  readonly #changed = new EventTarget();

  readonly handle = (event: KernelEvent<readonly string[]>): void => {
    this.events.push(event);
    this.#changed.dispatchEvent(new Event("change"));
  };

  get records(): readonly string[] {
    return this.events.flatMap((event) => (event.kind === "records" ? event.records : []));
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await once(this.#changed, "change", { signal: deadline });
  }
}

function open(recorder: Recorder, options: RouteEventOptions): Promise<EventWorker> {
  return EventWorker.open({ module, options, handle: recorder.handle });
}

using socket = openRouteSocket();
const route = (index: number) =>
  ({ table, destination: `10.${index >> 8}.${index & 255}.0/24`, kind: "throw" }) as const;

const few = new Recorder();
const fewWorker = await open(few, { receiveBufferBytes: 1 << 20 });
replaceRoute(socket, route(1));
deleteRoute(socket, route(1));
await few.until(() => few.records.length === 2);
const closeStartMs = performance.now();
await fewWorker[Symbol.asyncDispose]();
const closeMs = performance.now() - closeStartMs;
replaceRoute(socket, route(2));

const many = new Recorder();
const manyWorker = await open(many, { receiveBufferBytes: 1 << 20 });
for (let index = 0; index < manyRoutes; index++) replaceRoute(socket, route(index));
await many.until(() => many.events.some((event) => event.kind === "overflow"));
const overflowAt = many.events.findIndex((event) => event.kind === "overflow");
const seen = many.records.length;
deleteRoute(socket, route(0));
await many.until(() => many.records.includes("deleted"));
await manyWorker[Symbol.asyncDispose]();

const refused = await open(new Recorder(), { receiveBufferBytes: 4096, group: 4_000 }).catch(
  (error: Error) => error.message,
);
const absent = await EventWorker.open({
  module: new URL("./absent.ts", import.meta.url),
  options: {},
  handle: () => {},
}).catch((error: Error) => error.message);

console.log(
  JSON.stringify({
    few: few.records,
    fewEvents: few.events.map(({ kind }) => kind),
    closeMs,
    seen,
    overflowAt,
    manyRoutes,
    refused,
    absent,
  }),
);
