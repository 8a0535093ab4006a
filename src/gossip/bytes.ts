/**
 * Reading and writing of bytes, big-endian.
 *
 * The reader never throws: after a fault everything reads as nothing, and `fault` says what was wrong first. So decoders
 * are total without a check behind every field.
 */

export class ByteWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(capacity: number) {
    this.#buffer = Buffer.allocUnsafe(Math.max(16, capacity));
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): void {
    this.#length = this.#room(1).writeUInt8(value, this.#length);
  }

  u16(value: number): void {
    this.#length = this.#room(2).writeUInt16BE(value, this.#length);
  }

  u32(value: number): void {
    this.#length = this.#room(4).writeUInt32BE(value, this.#length);
  }

  /** Into a place that was left for it. */
  u16At(value: number, at: number): void {
    this.#buffer.writeUInt16BE(value, at);
  }

  bytes(value: Uint8Array): void {
    this.#room(value.length).set(value, this.#length);
    this.#length += value.length;
  }

  /** ASCII of at most 255 characters. */
  text(value: string): void {
    this.u8(value.length);
    this.#length += this.#room(value.length).write(value, this.#length, "latin1");
  }

  done(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #room(bytes: number): Buffer {
    if (this.#length + bytes > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.#length + bytes));
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    return this.#buffer;
  }
}

const nothing = new Uint8Array();

export class ByteReader {
  readonly #view: Buffer;
  #at = 0;
  #fault: string | undefined;

  constructor(bytes: Uint8Array) {
    this.#view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** What was wrong first; undefined: nothing so far. */
  get fault(): string | undefined {
    return this.#fault;
  }

  get left(): number {
    return this.#view.length - this.#at;
  }

  fail(fault: string): void {
    this.#fault ??= fault;
  }

  u8(): number {
    return this.#take(1) ? this.#view.readUInt8(this.#at - 1) : 0;
  }

  u16(): number {
    return this.#take(2) ? this.#view.readUInt16BE(this.#at - 2) : 0;
  }

  u32(): number {
    return this.#take(4) ? this.#view.readUInt32BE(this.#at - 4) : 0;
  }

  /** Shares memory with what is read. */
  bytes(length: number): Uint8Array {
    return this.#take(length) ? this.#view.subarray(this.#at - length, this.#at) : nothing;
  }

  text(): string {
    const length = this.u8();
    return this.#take(length) ? this.#view.toString("latin1", this.#at - length, this.#at) : "";
  }

  end(): void {
    if (this.left > 0) this.fail(`${this.left} bytes too many`);
  }

  #take(length: number): boolean {
    if (this.#fault === undefined && length > this.left) this.#fault = `ends ${length - this.left} bytes too early`;
    if (this.#fault !== undefined) return false;
    this.#at += length;
    return true;
  }
}
