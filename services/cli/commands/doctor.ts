/** `baton doctor`: whether this host can do what baton asks of it. */
import type { Command } from "commander";
import { action, addCommand, type Host } from "../command.ts";
import { exitCodes } from "../exit-code.ts";
import { checkJson, checkTable } from "../render/doctor.ts";
import { type CommonOptions, endpointTexts } from "../shell.ts";

interface DoctorOptions extends CommonOptions {
  readonly nats?: string;
}

export function registerDoctor(program: Command, host: Host): void {
  const { terminal, signal, env } = host.shell;
  addCommand(program, {
    usage: "doctor",
    summary: "check what this host's kernel and its neighbours can do",
    examples: [
      { command: "baton doctor", what: "this host, and the coordinators in BATON_ENDPOINT" },
      { command: "baton doctor --nats 10.77.0.21:4222", what: "and a NATS server" },
    ],
  })
    .option("--nats <list>", "NATS servers, with commas between (default: BATON_NATS_SERVERS)")
    .action(
      action(host, async (options: DoctorOptions) => {
        const [hostChecks, clusterChecks] = await Promise.all([
          import("../doctor/host.ts"),
          import("../doctor/cluster.ts"),
        ]);
        const servers = (options.nats ?? env["BATON_NATS_SERVERS"] ?? "")
          .split(",")
          .filter((server) => server.trim() !== "");
        const results = await Promise.all([
          hostChecks.checkNode(),
          hostChecks.checkPrivileges(),
          hostChecks.checkLibnftables(),
          hostChecks.checkNft(),
          hostChecks.checkConntrack(),
          hostChecks.checkVxlan(),
          hostChecks.checkSockDestroy(),
          ...endpointTexts(host.shell, options).map((endpoint) => clusterChecks.checkCoordinator(endpoint, signal)),
          ...servers.map((server) => clusterChecks.checkNats(server.trim())),
        ]);
        if (options.json) terminal.json(results.map(checkJson));
        else terminal.lines(checkTable(results));
        return results.some(({ state }) => state === "failed") ? exitCodes.failed : exitCodes.done;
      }),
    );
}
