/** Following a remap until it has come as far as asked: drawn on a terminal, one object a line as JSON, else one line a phase. */
import type { Remap } from "../../src/remap/remap.ts";
import { remapToJson } from "../../src/remap/report.ts";
import type { Coordinators } from "../../src/rpc/coordinators.ts";
import { type ExitCode, exitCodes } from "./exit-code.ts";
import { CommandFailed } from "./failure.ts";
import { advanceView, type LiveView, liveFrame, phaseChangeLine } from "./render/live.ts";
import { hasEnded } from "./render/remap.ts";
import { Screen } from "./screen.ts";
import type { Shell } from "./shell.ts";

export type WatchGoal = "draining" | "completed";

const redrawMs = 200;

/** What a look at a watched remap is shown with. */
interface Sink extends Disposable {
  show(remap: Remap): void;
}

/** The exit code: done once the goal is reached, failed if the remap was aborted, interrupted by Ctrl-C. */
export async function watchRemap(
  shell: Shell,
  coordinators: Coordinators,
  options: { readonly id: string; readonly goal: WatchGoal; readonly json: boolean },
): Promise<ExitCode> {
  const { id, goal, json } = options;
  try {
    using sink = json ? jsonSink(shell) : shell.terminal.live ? screenSink(shell) : lineSink(shell);
    for await (const remap of coordinators.watchRemap(id)) {
      sink.show(remap);
      if (hasReached(remap, goal)) return remap.phase === "aborted" ? exitCodes.failed : exitCodes.done;
    }
  } catch (error) {
    if (!shell.signal.aborted) throw error;
    shell.terminal.note(`Stopped watching; the remap goes on. Watch it again: baton remaps watch ${id}`);
    return exitCodes.interrupted;
  }
  throw new CommandFailed(
    exitCodes.failed,
    `the coordinator stopped telling of remap ${id}`,
    `baton remaps show ${id}`,
  );
}

export function hasReached(remap: Remap, goal: WatchGoal): boolean {
  if (hasEnded(remap)) return true;
  return goal === "draining" && (remap.phase === "draining" || remap.phase === "finalizing");
}

function jsonSink({ terminal }: Shell): Sink {
  return { show: (remap) => terminal.json(remapToJson(remap)), [Symbol.dispose]: () => {} };
}

function lineSink({ terminal }: Shell): Sink {
  let last: string | undefined;
  return {
    show: (remap) => {
      if (remap.phase !== last) terminal.lines([phaseChangeLine(remap)]);
      last = remap.phase;
    },
    [Symbol.dispose]: () => {},
  };
}

function screenSink({ terminal, clock }: Shell): Sink {
  const screen = new Screen(terminal);
  let view: LiveView | undefined;
  const draw = (): void => {
    if (view !== undefined) screen.draw(liveFrame(view, clock.nowMs()));
  };
  const timer = setInterval(draw, redrawMs);
  return {
    show: (remap) => {
      view = advanceView(view, remap, clock.nowMs());
      draw();
    },
    [Symbol.dispose]: () => {
      clearInterval(timer);
      screen[Symbol.dispose]();
    },
  };
}
