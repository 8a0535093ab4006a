import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";

const lifetime = new URL("../../../src/runtime/lifetime.ts", import.meta.url).href;

/** A service whose main is this expression; resolves once it has written "up". */
async function startService(main: string): Promise<{ child: ChildProcess; output: () => string }> {
  const script = `const { runService } = await import("${lifetime}"); runService("trial", ${main});`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout?.on("data", (chunk) => {
    text += String(chunk);
  });
  await expect.poll(() => text, { timeout: 5_000 }).toContain("up");
  return { child, output: () => text };
}

async function exitOf(child: ChildProcess): Promise<unknown> {
  if (child.exitCode !== null) return child.exitCode;
  return (await once(child, "exit"))[0];
}

const untilStopped = `async (signal) => { console.log("up"); await new Promise((end) => {
  const alive = setInterval(() => {}, 1000);
  signal.addEventListener("abort", () => { clearInterval(alive); end(); }); }); console.log("finished"); }`;

describe("a service's process", () => {
  it("finishes its work at SIGTERM and exits with 0", async () => {
    const { child, output } = await startService(untilStopped);
    child.kill("SIGTERM");
    expect(await exitOf(child)).toBe(0);
    expect(output()).toContain("finished");
  });

  it("exits with 0 when its main ends by the abort itself", async () => {
    const { child } = await startService(
      `async (signal) => { console.log("up"); const { sleep } = await import("${lifetime.replace("lifetime", "retry")}"); await sleep(60000, signal); }`,
    );
    child.kill("SIGINT");
    expect(await exitOf(child)).toBe(0);
  });

  it("exits with the code that its main returns", async () => {
    const { child } = await startService(`async () => { console.log("up"); return 2; }`);
    expect(await exitOf(child)).toBe(2);
  });

  it("logs an error that nobody expected, and exits with 1", async () => {
    const { child, output } = await startService(
      `async () => { console.log("up"); throw new Error("the disk is gone"); }`,
    );
    expect(await exitOf(child)).toBe(1);
    expect(output()).toContain('"level":"fatal"');
    expect(output()).toContain("the disk is gone");
  });

  it("tells a fault of its surroundings without a stack, and exits with its code", async () => {
    const errors = lifetime.replace("lifetime", "service-error");
    const { child, output } = await startService(
      `async () => { console.log("up"); const { ServiceError } = await import("${errors}"); throw new ServiceError("no room: make some", 3); }`,
    );
    expect(await exitOf(child)).toBe(3);
    expect(output()).toBe("up\n");
  });

  it("does not survive a promise that nobody caught", async () => {
    const { child, output } = await startService(
      `async () => { console.log("up"); void Promise.reject(new Error("lost")); await new Promise(() => setInterval(() => {}, 1000)); }`,
    );
    expect(await exitOf(child)).toBe(1);
    expect(output()).toContain("lost");
  });

  it("leaves at once when it is told a second time", async () => {
    const { child } = await startService(
      `async (signal) => { setInterval(() => {}, 1000); signal.addEventListener("abort", () => console.log("stopping")); console.log("up"); await new Promise(() => {}); }`,
    );
    let text = "";
    child.stdout?.on("data", (chunk) => {
      text += String(chunk);
    });
    child.kill("SIGTERM");
    await expect.poll(() => text, { timeout: 5_000 }).toContain("stopping");
    child.kill("SIGTERM");
    expect(await exitOf(child)).toBe(1);
  });
});
