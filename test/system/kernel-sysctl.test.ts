import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deviceSysctlPath, type Sysctl } from "../../src/kernel/sysctl.ts";
import { Namespace } from "./kernel/namespace.ts";

const dotted = "eth0.7";
const forwarding = deviceSysctlPath(4, dotted, "forwarding");
const reversePath = deviceSysctlPath(4, dotted, "rp_filter");
const redirects = "net/ipv4/conf/all/send_redirects";

describe("saved sysctls", () => {
  let namespace: Namespace;
  let peer: Namespace;
  let directory: string;
  let file: string;

  beforeEach(() => {
    namespace = new Namespace("sys-a");
    peer = new Namespace("sys-b");
    namespace.connect(dotted, "10.77.0.11/24", peer, "eth0", "10.77.0.12/24");
    directory = mkdtempSync(join(tmpdir(), "baton-t-sysctl-"));
    file = join(directory, "sysctls.json");
    set(forwarding, "0");
    set(reversePath, "1");
    set(redirects, "1");
  });
  afterEach(() => {
    namespace?.[Symbol.dispose]();
    peer?.[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  const get = (path: string): string => namespace.exec("cat", `/proc/sys/${path}`).trim();
  const set = (path: string, value: string): void => {
    namespace.exec("sh", "-c", `echo ${value} > /proc/sys/${path}`);
  };
  /** In a process that is killed as soon as it is done. */
  const applyAndCrash = async (...settings: readonly Sysctl[]): Promise<void> => {
    const script = namespace.script("sysctl.script.ts", file, "apply", JSON.stringify(settings));
    await expect(script).rejects.toThrow();
  };
  const restore = (): Promise<unknown> => namespace.script("sysctl.script.ts", file, "restore");

  it("come back after a crash, restored by another process", async () => {
    await applyAndCrash({ path: forwarding, value: "1" }, { path: reversePath, value: "2" });
    expect([get(forwarding), get(reversePath)]).toEqual(["1", "2"]);
    await restore();
    expect([get(forwarding), get(reversePath)]).toEqual(["0", "1"]);
    await restore();
    expect([get(forwarding), get(reversePath)]).toEqual(["0", "1"]);
  });

  it("remember the value of the host, not our own, when they are applied again", async () => {
    await applyAndCrash({ path: reversePath, value: "2" });
    await applyAndCrash({ path: reversePath, value: "2" });
    await applyAndCrash({ path: reversePath, value: "0" });
    expect(get(reversePath)).toBe("0");
    await restore();
    expect(get(reversePath)).toBe("1");
  });

  it("put back at once those that are no longer wanted", async () => {
    await applyAndCrash({ path: forwarding, value: "1" }, { path: redirects, value: "0" });
    await applyAndCrash({ path: forwarding, value: "1" });
    expect([get(forwarding), get(redirects)]).toEqual(["1", "1"]);
  });

  it("leave alone what somebody else has set meanwhile", async () => {
    await applyAndCrash({ path: reversePath, value: "2" }, { path: redirects, value: "0" });
    set(reversePath, "0");
    await restore();
    expect([get(reversePath), get(redirects)]).toEqual(["0", "1"]);
  });

  it("are set again over somebody else's value while they are wanted, which is what comes back", async () => {
    await applyAndCrash({ path: reversePath, value: "2" });
    set(reversePath, "0");
    await applyAndCrash({ path: reversePath, value: "2" });
    expect(get(reversePath)).toBe("2");
    await restore();
    expect(get(reversePath)).toBe("0");
  });

  it("are healed when the process ended between noting and setting", async () => {
    const settings = [
      { path: redirects, value: "0" },
      { path: reversePath, value: "nonsense" },
      { path: forwarding, value: "1" },
    ];
    const refused = await namespace.script("sysctl.script.ts", file, "apply-bad", JSON.stringify(settings));
    expect(refused).toEqual({ errno: "EINVAL" });
    expect([get(redirects), get(reversePath), get(forwarding)]).toEqual(["0", "1", "0"]);
    await restore();
    expect([get(redirects), get(reversePath), get(forwarding)]).toEqual(["1", "1", "0"]);
  });

  it("change nothing where one of them does not exist", async () => {
    const settings = [
      { path: redirects, value: "0" },
      { path: deviceSysctlPath(4, "gone0", "rp_filter"), value: "2" },
    ];
    const refused = await namespace.script("sysctl.script.ts", file, "apply-bad", JSON.stringify(settings));
    expect(refused).toEqual({ errno: "ENOENT" });
    expect(get(redirects)).toBe("1");
  });

  it("are restored although a device has gone", async () => {
    await applyAndCrash({ path: redirects, value: "0" }, { path: reversePath, value: "2" });
    namespace.ip(`link del ${dotted}`);
    await restore();
    expect(get(redirects)).toBe("1");
  });

  it("are forgotten with a reboot", async () => {
    await applyAndCrash({ path: reversePath, value: "2" });
    const content = JSON.parse(readFileSync(file, "utf8")) as { boot: string };
    writeFileSync(file, JSON.stringify({ ...content, boot: "another" }));
    await restore();
    expect(get(reversePath)).toBe("2");
  });

  it("set a file aside that is not theirs, and say which", async () => {
    const content = '{"settings": [{"path": "../etc/passwd", "found": "", "ours": []}]}';
    writeFileSync(file, content);
    const said = `${file} does not hold saved sysctls; it is now ${file}.damaged, and what it remembered is not put back`;
    expect(await restore()).toEqual({ damaged: said });
    expect(readFileSync(`${file}.damaged`, "utf8")).toBe(content);
    await applyAndCrash({ path: reversePath, value: "2" });
    expect(await restore()).toEqual({});
    expect(get(reversePath)).toBe("1");
  });
});
