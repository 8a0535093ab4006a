/** Asks services of the lab, each in its own namespace, whether they are ready. */
import { tryCommand } from "./command.ts";

export type Readiness =
  | { readonly kind: "ready" }
  | { readonly kind: "not-ready"; readonly reasons: readonly string[] }
  /** Nothing answers at its admin port. */
  | { readonly kind: "silent" };

/** Paused processes take connections and never answer. */
const answerTimeoutMs = 2_000;

/** bash opens connections by itself; starting a Node for each question would take a hundred times as long. */
const question = `
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET %s HTTP/1.0\\r\\n\\r\\n' "$2" >&3
exec timeout ${answerTimeoutMs / 1000} cat <&3`;

export interface HealthPort {
  readonly port: number;
  readonly path: string;
}

export async function askReadiness(namespace: string, health: HealthPort): Promise<Readiness> {
  // bash takes a start by a socket for one by rshd, and would read the user's .bashrc, which may do anything.
  const args = ["netns", "exec", namespace, "bash", "--norc", "-c", question, "ask", String(health.port), health.path];
  const { stdout } = await tryCommand("ip", args);
  return readAnswer(stdout);
}

/** From the text of an HTTP answer. */
export function readAnswer(text: string): Readiness {
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1]);
  if (Number.isNaN(status)) return { kind: "silent" };
  if (status === 200) return { kind: "ready" };
  const body = text.slice(text.indexOf("\r\n\r\n") + 4);
  const reasons = body.split("\n").filter((line) => line.trim() !== "");
  return { kind: "not-ready", reasons: reasons.map((line) => line.replace(/^not ready: /, "")) };
}
