import { describe, expect, it } from "vitest";
import { readAnswer } from "../../../services/lab/readiness.ts";

describe("an answer about readiness", () => {
  it("is ready with status 200", () => {
    expect(readAnswer("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n")).toEqual({ kind: "ready" });
  });

  it("carries the reasons otherwise", () => {
    const answer = "HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready: no coordinator\nnot ready: no NATS\n";
    expect(readAnswer(answer)).toEqual({ kind: "not-ready", reasons: ["no coordinator", "no NATS"] });
  });

  it("is silence when there is none", () => {
    expect(readAnswer("")).toEqual({ kind: "silent" });
    expect(readAnswer("SSH-2.0\r\n")).toEqual({ kind: "silent" });
  });
});
