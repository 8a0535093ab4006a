/** Writes the endless content to a stream, as fast as it takes it or at a given rate. */
import type { Writable } from "node:stream";
import { monotonicMs } from "./clock.ts";
import { contentAt } from "./content.ts";

const chunkBytes = 65_536;
const tickMs = 20;

export interface PumpOptions {
  readonly from: number;
  /** Exclusive; Infinity: until `stop`. */
  readonly to: number;
  /** 0: as fast as the stream takes it. */
  readonly bytesPerSecond: number;
  readonly done?: () => void;
}

/** Stops it, and says where the next byte would have come from. */
export type StopPump = () => number;

export function pump(stream: Writable, options: PumpOptions): StopPump {
  let position = options.from;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const inTurn = (): void => void setImmediate(step);
  const stop = () => {
    stopped = true;
    clearInterval(timer);
    stream.off("drain", inTurn);
    return position;
  };
  /** False when the stream wants to be drained first, or nothing is left to write. */
  const write = (most: number): boolean => {
    const length = Math.min(most, options.to - position);
    const more = stream.write(contentAt(position, length));
    position += length;
    if (position < options.to) return more;
    stop();
    options.done?.();
    return false;
  };
  /** One chunk a turn of the event loop: a socket that takes all at once would keep every other connection waiting. */
  const step = (): void => {
    if (!stopped && write(chunkBytes)) inTurn();
  };
  if (options.bytesPerSecond > 0) {
    const startMs = monotonicMs();
    // By the clock and not by the tick: a late tick writes what the lost ones would have written.
    timer = setInterval(() => {
      const due = options.from + ((monotonicMs() - startMs) * options.bytesPerSecond) / 1000;
      if (!stream.writableNeedDrain && due > position) write(Math.ceil(due - position));
    }, tickMs);
  } else {
    stream.on("drain", inTurn);
    step();
  }
  stream.once("close", stop);
  return stop;
}
