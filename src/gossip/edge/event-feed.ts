/**
 * Membership events for whoever wants them. A consumer that is slow, or stands still, costs nobody anything: its queue is
 * bounded, and what it has missed is replaced by the whole membership when it reads again.
 */
import { BoundedQueue } from "../../runtime/queue.ts";
import type { Member, MemberEvent } from "../member.ts";

export type FeedEvent = MemberEvent | { readonly kind: "resync"; readonly members: readonly Member[] };

export const feedEventsMax = 1_024;
export const subscribersMax = 64;

interface Subscriber {
  readonly queue: BoundedQueue<MemberEvent>;
  hasMissed: boolean;
}

export class EventFeed implements Disposable {
  readonly #members: () => readonly Member[];
  readonly #subscribers = new Set<Subscriber>();
  #missed = 0;

  constructor(members: () => readonly Member[]) {
    this.#members = members;
  }

  /** Events that no queue had room for. */
  get missed(): number {
    return this.#missed;
  }

  publish(event: MemberEvent): void {
    for (const subscriber of this.#subscribers) {
      if (!subscriber.hasMissed && subscriber.queue.push(event)) continue;
      subscriber.hasMissed = true;
      this.#missed++;
    }
  }

  /** First the members as they are, then what changes. Ends with the feed; throws the abort reason. */
  async *events(signal: AbortSignal): AsyncGenerator<FeedEvent, void, undefined> {
    if (this.#subscribers.size >= subscribersMax) throw new Error(`${subscribersMax} subscribers to events already`);
    const subscriber: Subscriber = { queue: new BoundedQueue(feedEventsMax), hasMissed: false };
    this.#subscribers.add(subscriber);
    try {
      yield { kind: "resync", members: this.#members() };
      for (;;) {
        const events = await subscriber.queue.takeAll(signal);
        if (events.length === 0) return;
        yield* events;
        if (!subscriber.hasMissed) continue;
        subscriber.hasMissed = false;
        yield { kind: "resync", members: this.#members() };
      }
    } finally {
      this.#subscribers.delete(subscriber);
    }
  }

  [Symbol.dispose](): void {
    for (const { queue } of this.#subscribers) queue.close();
  }
}
