/** Pairs of measurements, compared. Pure. */

export interface Pair {
  readonly subject: number;
  readonly peer: number;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Comparison {
  readonly pairs: number;
  readonly subject: Spread;
  readonly peer: Spread;
  /** Of subject to peer, pair by pair: what slows down both for a while leaves it alone. */
  readonly ratio: Spread;
}

export function compare(pairs: readonly Pair[]): Comparison {
  return {
    pairs: pairs.length,
    subject: spread(pairs.map((pair) => pair.subject)),
    peer: spread(pairs.map((pair) => pair.peer)),
    ratio: spread(pairs.map((pair) => pair.subject / pair.peer)),
  };
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (min === undefined || max === undefined) throw new RangeError("nothing was measured");
  const middle = sorted.slice(Math.floor((sorted.length - 1) / 2), Math.floor(sorted.length / 2) + 1);
  return { median: middle.reduce((sum, value) => sum + value, 0) / middle.length, min, max };
}
