/**
 * Entry of the tracker beside an agent: waits for its setup from the agent that has started this process, serves, and tells
 * how it goes.
 *
 * The channel to the agent is its life line: when that closes, however the agent has ended, it stops as if it were told to.
 */
import { once } from "node:events";
import { LoadMeter, loadOf } from "../../src/cluster/load.ts";
import { runService } from "../../src/runtime/lifetime.ts";
import { createLog } from "../../src/runtime/log.ts";
import { isAbort, sleep } from "../../src/runtime/retry.ts";
import { type HostedReport, reportMs } from "../../src/tracker/hosted-protocol.ts";
import type { TrackerSetup } from "../../src/tracker/setup.ts";
import { type RunningTracker, serveTracker } from "./service.ts";

/** The host's own load is the agent's to tell. */
const loadSources = ["loop", "delay"] as const;

// A signal to itself, so that it has the time of every stop, and no more.
process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));

// What a service manager tells all processes of an agent is the agent's to heed.
process.on("SIGUSR2", () => undefined);

runService("tracker", async (signal) => {
  const [setup] = (await once(process, "message", { signal })) as [TrackerSetup];
  const log = createLog({ service: "tracker", name: setup.name, level: setup.log.level });
  let reporting: Promise<void> | undefined;
  const onServing = (running: RunningTracker): void => {
    reporting = report(running, signal);
  };
  await serveTracker({ setup, onServing, log }, signal);
  await reporting;
});

async function report(running: RunningTracker, signal: AbortSignal): Promise<void> {
  using meter = new LoadMeter();
  try {
    for (;;) {
      await sleep(reportMs, signal);
      const epoch = running.epoch();
      const message: HostedReport = {
        shards: [...running.shards()],
        ...(epoch !== undefined && { epoch }),
        load: loadOf(meter.sample(), loadSources),
        notReady: [...running.reasonsNotReady()],
      };
      if (process.connected) process.send?.(message);
    }
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
  }
}
