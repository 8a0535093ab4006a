/**
 * Projects: `unit` runs anywhere and in parallel; `system`, and `soak` for what takes long, share one kernel and take turns;
 * of `system-pairs` two run at a time.
 */
import { defineConfig } from "vitest/config";

const nodeMajor = 24;
if (Number(process.versions.node.split(".")[0]) < nodeMajor)
  throw new Error(
    `baton runs on Node ${nodeMajor}, and this is ${process.version}: use  npm test , or put node_modules/.bin first on PATH`,
  );

/**
 * Minutes each: chaos in every phase, figures with 100,000 flows, clusters of trackers that grow, are cut apart or over-loaded,
 * a tracker that comes, dies and goes beside an agent, rules taken out of the gossip, datagrams by the million. `npm run soak` runs
 * them.
 */
const long = [
  "test/system/away.test.ts",
  "test/system/many-flows*.test.ts",
  "test/system/hosting.test.ts",
  "test/system/flow-events.test.ts",
  "test/soak/*.test.ts",
];

/**
 * What counts no packets of a load and measures no milliseconds, and waits most of its time: for processes to start, for
 * members to be missed, for bounds to pass. A file that measures does not belong here.
 */
const unmeasured = [
  "bad-config",
  "bad-nodes",
  "bad-orders",
  "bad-store",
  "bad-surroundings",
  "boot",
  "bus-contract",
  "coordinator",
  "gossip-members",
  "hosting-offline",
  "lab",
  "malformed",
  "operations",
  "refusals",
  "remap-abort",
  "remap-direct-drain",
  "remap-lost",
  "shard-loss",
  "store-keys",
].map((name) => `test/system/${name}.test.ts`);

/** For what hangs, not for what is slow: many tests start processes, and a loaded machine takes its time with those. */
const patient = { testTimeout: 60_000, hookTimeout: 60_000 };

/** One kernel and one machine for all: one file after the other. */
const shared = { fileParallelism: false, ...patient };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts", "test/property/**/*.test.ts", "test/simulation/**/*.test.ts"],
          // By default one processor is left idle, which of two is half the machine.
          maxWorkers: "100%",
          // Nothing here changes its process or what is shared by import; half the time went into new processes' imports.
          isolate: false,
          ...patient,
        },
      },
      {
        test: {
          name: "system",
          include: ["test/system/**/*.test.ts"],
          exclude: [...long, ...unmeasured],
          ...shared,
        },
      },
      {
        test: {
          name: "system-pairs",
          include: unmeasured,
          maxWorkers: 2,
          // After all of `system`, never beside it.
          sequence: { groupOrder: 1 },
          ...patient,
        },
      },
      {
        test: {
          name: "soak",
          include: long,
          ...shared,
        },
      },
    ],
  },
});
