import { describe, expect, it } from "vitest";
import { HttpHead } from "../../traffic/conversation.ts";
import { Lines } from "../../traffic/lines.ts";
import { acceptKey, encodeFrame, Frames, opcodes } from "../../traffic/websocket.ts";

describe("lines", () => {
  it("come out whole, however the stream was cut", () => {
    const lines = new Lines();
    expect(lines.push(Buffer.from("one\ntw"))).toEqual(["one"]);
    expect(lines.push(Buffer.from("o\n\nthree"))).toEqual(["two", ""]);
    expect(lines.push(Buffer.from("\n"))).toEqual(["three"]);
  });

  it("may not be endless", () => {
    expect(() => new Lines().push(Buffer.alloc(70_000, "x"))).toThrow("a line of more than");
  });
});

describe("WebSocket frames", () => {
  it("answer the key of RFC 6455 as the RFC does", () => {
    expect(acceptKey("dGhlIHNhbXBsZSBub25jZQ==")).toBe("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  });

  it("read as the RFC's examples, masked and not", () => {
    const plain = Buffer.from([0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    const masked = Buffer.from([0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    expect(encodeFrame(opcodes.text, Buffer.from("Hello"))).toEqual(plain);
    expect(encodeFrame(opcodes.text, Buffer.from("Hello"), masked.subarray(2, 6))).toEqual(masked);
    const texts = new Frames().push(Buffer.concat([plain, masked])).map((frame) => frame.payload.toString());
    expect(texts).toEqual(["Hello", "Hello"]);
  });

  it("come out whole when they arrive byte by byte", () => {
    const frames = new Frames();
    const bytes = Buffer.concat(["0", "1", "2"].map((text) => encodeFrame(opcodes.text, Buffer.from(text))));
    const seen = [...bytes].flatMap((byte) => frames.push(Buffer.from([byte])));
    expect(seen.map((frame) => frame.payload.toString())).toEqual(["0", "1", "2"]);
  });
});

describe("an HTTP head", () => {
  it("ends at the empty line, and what follows is the body", () => {
    const head = new HttpHead();
    expect(head.push(Buffer.from("HTTP/1.1 206 Partial Content\r\nX-Server: vm-a\r"))).toBeUndefined();
    expect(head.push(Buffer.from("\n\r\nbody"))?.toString()).toBe("body");
    expect([head.status, head.field("x-server"), head.field("x-other")]).toEqual([206, "vm-a", undefined]);
  });
});
