/** The proto's enums and the domain's words, both ways; a missing word does not compile. */
import { Egress, NodeKind } from "../gen/baton/v1/node.ts";
import {
  ChannelKind,
  ErrorCode,
  HookOutcome,
  OnDeadline,
  RemapOutcome,
  RemapPhase,
  ReturnPath,
  UnknownPolicy,
} from "../gen/baton/v1/remap.ts";
import type {
  ChannelKind as ChannelKindWord,
  Egress as EgressWord,
  ReturnPath as ReturnPathWord,
  UnknownPolicy as UnknownPolicyWord,
} from "../node/state.ts";
import type { NodeKind as NodeKindWord, OfflineReport } from "../node/status.ts";
import type { ErrorCode as ErrorCodeWord } from "../remap/error.ts";
import type {
  OnDeadline as OnDeadlineWord,
  RemapOutcome as RemapOutcomeWord,
  RemapPhase as RemapPhaseWord,
} from "../remap/remap.ts";
import { FieldFault } from "./fields.ts";

export const nodeKinds: Record<NodeKindWord, NodeKind> = { agent: NodeKind.AGENT, gateway: NodeKind.GATEWAY };

export const egressKinds: Record<EgressWord["kind"], Egress> = {
  normal: Egress.NORMAL,
  armed: Egress.ARMED,
  channel: Egress.CHANNEL,
  direct: Egress.DIRECT,
};

export const unknownPolicies: Record<UnknownPolicyWord, UnknownPolicy> = {
  follow: UnknownPolicy.FOLLOW,
  drop: UnknownPolicy.DROP,
  reset: UnknownPolicy.RESET,
};

export const channelKinds: Record<ChannelKindWord, ChannelKind> = {
  direct: ChannelKind.DIRECT,
  vxlan: ChannelKind.VXLAN,
  ipip: ChannelKind.IPIP,
  gre: ChannelKind.GRE,
  wireguard: ChannelKind.WIREGUARD,
};

export const channelChoices: Record<ChannelKindWord | "auto", ChannelKind> = {
  ...channelKinds,
  auto: ChannelKind.AUTO,
};

export const phases: Record<RemapPhaseWord, RemapPhase> = {
  preparing: RemapPhase.PREPARING,
  arming: RemapPhase.ARMING,
  switching: RemapPhase.SWITCHING,
  draining: RemapPhase.DRAINING,
  finalizing: RemapPhase.FINALIZING,
  completed: RemapPhase.COMPLETED,
  aborting: RemapPhase.ABORTING,
  aborted: RemapPhase.ABORTED,
};

export const outcomes: Record<RemapOutcomeWord, RemapOutcome> = {
  completed: RemapOutcome.COMPLETED,
  cut: RemapOutcome.CUT,
  "source-lost": RemapOutcome.SOURCE_LOST,
  "target-lost": RemapOutcome.TARGET_LOST,
  aborted: RemapOutcome.ABORTED,
};

export const onDeadlines: Record<OnDeadlineWord, OnDeadline> = {
  cut: OnDeadline.CUT,
  wait: OnDeadline.WAIT,
  keep: OnDeadline.KEEP,
};

export const returnPaths: Record<ReturnPathWord, ReturnPath> = {
  channel: ReturnPath.CHANNEL,
  direct: ReturnPath.DIRECT,
};

export const hookOutcomeNumbers: Record<OfflineReport["outcome"], HookOutcome> = {
  done: HookOutcome.DONE,
  failed: HookOutcome.FAILED,
  "timed-out": HookOutcome.TIMED_OUT,
  unheard: HookOutcome.UNHEARD,
  "not-run": HookOutcome.NOT_RUN,
};

/** The domain's codes are the proto's names; a code that only one side has does not compile. */
export const errorCodeNumbers: Record<ErrorCodeWord, ErrorCode> = (({ UNSPECIFIED: _, ...codes }) => codes)(ErrorCode);

/** The word for a number on the wire. 0, and numbers that this version does not know, are faults. */
export function readEnum<Word extends string>(
  field: string,
  words: Readonly<Record<Word, number>>,
  value: number,
): Word {
  for (const word in words) if (words[word] === value) return word;
  throw new FieldFault(field, `one of ${Object.keys(words).join(", ")}`, value);
}

/** As {@link readEnum}, with nothing for 0. */
export function readOptionalEnum<Word extends string>(
  field: string,
  words: Readonly<Record<Word, number>>,
  value: number,
): Word | undefined {
  return value === 0 ? undefined : readEnum(field, words, value);
}
