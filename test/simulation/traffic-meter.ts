/** Counts what all nodes send, by the sizes that messages have on the wire, with the headers around them. */
import type { StreamMessage } from "../../src/gossip/message.ts";
import { streamMessageBytes } from "../../src/gossip/size.ts";

/** IPv4 and UDP headers. */
const datagramHeaderBytes = 28;
/** Around the messages of an encrypted packet: version, nonce, tag, checksum. */
const envelopeBytes = 40;
/** Three segments to open and four to close. */
const connectionBytes = 7 * 40;
/** IPv4 and TCP headers of a segment, and its acknowledgement. */
const segmentOverheadBytes = 80;
const segmentBytesMax = 1448;

export class TrafficMeter {
  datagrams = 0;
  datagramBytes = 0;
  streamBytes = 0;

  datagram(messageBytes: number): void {
    this.datagrams++;
    this.datagramBytes += messageBytes + envelopeBytes + datagramHeaderBytes;
  }

  connection(): void {
    this.streamBytes += connectionBytes;
  }

  stream(message: StreamMessage): void {
    const bytes = envelopeBytes + streamMessageBytes(message);
    this.streamBytes += bytes + Math.ceil(bytes / segmentBytesMax) * segmentOverheadBytes;
  }

  reset(): void {
    this.datagrams = 0;
    this.datagramBytes = 0;
    this.streamBytes = 0;
  }
}
