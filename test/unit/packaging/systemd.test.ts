import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { gateTableName } from "../../../src/dataplane/boot-gate.ts";
import { fenceTableName } from "../../../src/dataplane/fence-table.ts";
import { repositoryRoot } from "../../check/files.ts";

const folder = join(repositoryRoot, "packaging/systemd");
const units = readdirSync(folder).filter((name) => name.endsWith(".service"));
const text = (name: string): string => readFileSync(join(folder, name), "utf8");
const hasAnalyze = spawnSync("systemd-analyze", ["--version"]).status === 0;

describe("the units of systemd", () => {
  it("are a service and a gate for each node", () => {
    expect(units).toEqual([
      "baton-agent-gate.service",
      "baton-agent.service",
      "baton-gateway-gate.service",
      "baton-gateway.service",
    ]);
  });

  it.each(["agent", "gateway"])("shut the gate of the %s before there is a network, unless a state stands", (kind) => {
    const gate = text(`baton-${kind}-gate.service`);
    expect(gate).toContain("DefaultDependencies=no\n");
    expect(gate).toContain("Before=network-pre.target shutdown.target\n");
    expect(gate).toContain(`nft list table ${fenceTableName} >`);
    expect(gate).toContain(`ExecStart=/usr/sbin/nft -f /opt/baton/packaging/systemd/${kind}-gate.nft\n`);
    expect(text(`${kind}-gate.nft`)).toContain(`\ntable ${gateTableName} {`);
  });

  it.each(["agent", "gateway"])("start the %s after the gate, and again unless its configuration is wrong", (kind) => {
    const service = text(`baton-${kind}.service`);
    expect(service).toMatch(new RegExp(`^After=.*baton-${kind}-gate\\.service$`, "m"));
    expect(service).toContain("Restart=always\n");
    expect(service).toContain("RestartPreventExitStatus=2\n");
  });

  it.skipIf(!hasAnalyze)("are what systemd understands", () => {
    const files = units.map((name) => join(folder, name));
    const { stderr } = spawnSync("systemd-analyze", ["verify", ...files], { encoding: "utf8" });
    // Where baton is not installed its program is missing, and nothing else.
    const faults = stderr.split("\n").filter((line) => line !== "" && !line.includes("Command /opt/baton/bin/baton"));
    expect(faults).toEqual([]);
  });
});
