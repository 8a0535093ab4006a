/** Two projects: `unit`, which runs anywhere and in parallel, and `system`, which shares one kernel and so takes turns. */
import { defineConfig } from "vitest/config";

const nodeMajor = 24;
if (Number(process.versions.node.split(".")[0]) < nodeMajor)
  throw new Error(
    `baton runs on Node ${nodeMajor}, and this is ${process.version}: use  npm test , or put node_modules/.bin first on PATH`,
  );

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts", "test/property/**/*.test.ts", "test/simulation/**/*.test.ts"],
        },
      },
      {
        test: {
          name: "system",
          include: ["test/system/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
