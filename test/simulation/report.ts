/** A run's figures as text, beside what the papers' formulas and memberlist's defaults say of such a cluster. */
import {
  disseminationMs,
  firstDetectionPeriods,
  firstSuspicionMedianMs,
  lastDetectionPeriods,
  memberlistLan,
  retransmissions,
  suspicionMaxMs,
  suspicionMinMs,
} from "./formulas.ts";
import type { RunResult, Spread } from "./result.ts";

export function reportOf(result: RunResult): string {
  return [...figures(result), "", ...expectations(result.nodes), "", ...verdict(result)].join("\n");
}

/** Scripts read it: the last line of every run. */
export function summaryOf(result: RunResult): string {
  const { scenario, seed, nodes, simulatedMs, speed, violations } = result;
  const outcome = violations.length === 0 ? "ok" : `FAILED, ${violations.length} violations`;
  return `gossip ${scenario}: seed ${seed}, ${nodes} nodes, ${simulatedMs / 1000} s at ${speed.toFixed(1)}x: ${outcome}`;
}

function figures(result: RunResult): readonly string[] {
  const { traffic, convergedMs } = result;
  return [
    line("crashes", String(result.crashes)),
    line("first suspicion after a crash", spreadText(result.suspectedMs)),
    line("first confirmation after a crash", spreadText(result.confirmedMs)),
    line("known everywhere after confirmation", spreadText(result.disseminatedMs)),
    line("converged after the last fault", convergedMs === undefined ? "never" : seconds(convergedMs)),
    line("false positives at healthy members", String(result.falsePositives)),
    line("living members declared dead at such", String(result.livingDeclaredDead)),
    line("suspicions", String(result.suspicions)),
    line("sent per node", `${traffic.bytes.toFixed(0)} bytes/s, ${traffic.datagrams.toFixed(1)} datagrams/s`),
    line(
      "  of it over UDP and TCP",
      `${traffic.datagramBytes.toFixed(0)} and ${traffic.streamBytes.toFixed(0)} bytes/s`,
    ),
    line(
      "simulated",
      `${result.events} events in ${seconds(result.elapsedMs)}, ${result.speed.toFixed(1)}x processor time`,
    ),
  ];
}

function expectations(nodes: number): readonly string[] {
  const { probeIntervalMs, gossipIntervalMs, gossipNodes } = memberlistLan;
  const gossipPerSecond = (1000 / gossipIntervalMs) * gossipNodes;
  const probed = firstDetectionPeriods(nodes) * probeIntervalMs;
  return [
    `SWIM's formulas and memberlist's LAN defaults, for ${nodes} nodes:`,
    line("first probe of a crashed member", `${seconds(probed)} on average (e/(e-1) periods)`),
    line("first suspicion", `${seconds(firstSuspicionMedianMs())} median, with probers out of step`),
    line("everybody has probed it", `within ${lastDetectionPeriods(nodes)} periods`),
    line("suspicion", `${seconds(suspicionMinMs(nodes))} to ${seconds(suspicionMaxMs(nodes))}`),
    line("a rumour reaches everybody", `${seconds(disseminationMs(nodes))}, sent ${retransmissions(nodes)} times`),
    line("datagrams", `2 a probe, and up to ${gossipPerSecond} a second while there are rumours`),
  ];
}

function verdict(result: RunResult): readonly string[] {
  if (result.violations.length === 0) return [];
  return [...result.violations.map((violation) => `violated: ${violation}`), `replay: ${result.replay}`, ""];
}

function spreadText(spread: Spread | undefined): string {
  if (spread === undefined) return "none";
  return `${seconds(spread.median)} median, ${seconds(spread.max)} at most`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

const labelWidth = 40;

function line(label: string, value: string): string {
  return `${label.padEnd(labelWidth)}${value}`;
}
