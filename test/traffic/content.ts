/**
 * Endless content of which every byte depends on its position, so that a lost, doubled or foreign piece shows.
 *
 * Blocks of 64 KiB: 8 bytes with the block's number, then bytes that are the same in every block. Comparing is
 * one memcmp a piece, so that checking every byte at full speed costs little.
 */

const blockBytes = 65_536;
const numberBytes = 8;
const body = pseudoRandomBytes(blockBytes, 0x9e3779b9);

/** The content from `position` on, `length` bytes. */
export function contentAt(position: number, length: number): Buffer {
  const out = Buffer.allocUnsafe(length);
  for (const part of parts(position, length)) blockAt(part.block).copy(out, part.offset, part.from, part.to);
  return out;
}

/** Position of the first byte that is not as it should be, or undefined when all are. */
export function firstDifference(piece: Buffer, position: number): number | undefined {
  for (const part of parts(position, piece.length)) {
    const block = blockAt(part.block);
    const end = part.offset + part.to - part.from;
    if (block.compare(piece, part.offset, end, part.from, part.to) === 0) continue;
    const wrong = piece.findIndex(
      (byte, index) => index >= part.offset && byte !== block[part.from + index - part.offset],
    );
    return position + wrong;
  }
  return undefined;
}

interface Part {
  readonly block: number;
  /** Within the block. */
  readonly from: number;
  readonly to: number;
  /** Within the piece. */
  readonly offset: number;
}

function* parts(position: number, length: number): Generator<Part> {
  for (let offset = 0; offset < length; ) {
    const from = (position + offset) % blockBytes;
    const to = Math.min(blockBytes, from + length - offset);
    yield { block: Math.floor((position + offset) / blockBytes), from, to, offset };
    offset += to - from;
  }
}

/** The same buffer each time, with the number of this block at its start. */
function blockAt(number: number): Buffer {
  body.writeBigUInt64BE(BigInt(number));
  return body;
}

/** xorshift32: the same bytes in every process. */
function pseudoRandomBytes(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let index = numberBytes; index < length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[index] = state & 0xff;
  }
  return bytes;
}
