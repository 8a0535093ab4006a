/** What a lab may be asked to be, and its bounds: each comes from the address plan in addresses.ts. */

export interface LabOptions {
  /** First part of the name of every namespace. */
  readonly name: string;
  readonly instances: number;
  readonly gateways: number;
  readonly trackers: number;
  readonly coordinators: number;
  readonly clients: number;
  readonly nats: number;
  /** Of the instances, from the first: a tracker may run beside their agents. */
  readonly hosting: number;
  /** Of the fabric; bytes. */
  readonly mtu: number;
  /** Of the network between clients and gateways; bytes. */
  readonly clientMtu: number;
}

export const defaultOptions: LabOptions = {
  name: "baton",
  instances: 3,
  gateways: 1,
  trackers: 3,
  coordinators: 1,
  clients: 1,
  nats: 1,
  hosting: 0,
  mtu: 1500,
  clientMtu: 1500,
};

type Count = Exclude<keyof LabOptions, "name">;

interface Bound {
  readonly min: number;
  readonly max: number;
}

/** The lower bound of the MTUs is IPv6's. */
export const bounds: Readonly<Record<Count, Bound>> = {
  instances: { min: 2, max: 9 },
  gateways: { min: 1, max: 9 },
  trackers: { min: 1, max: 9 },
  coordinators: { min: 1, max: 9 },
  clients: { min: 1, max: 9 },
  nats: { min: 1, max: 9 },
  hosting: { min: 0, max: 9 },
  mtu: { min: 1280, max: 9000 },
  clientMtu: { min: 1280, max: 9000 },
};

export const labNamePattern = /^[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?$/;

export type CheckedOptions =
  | { readonly ok: true; readonly options: LabOptions }
  | { readonly ok: false; readonly message: string };

export function checkOptions(options: LabOptions): CheckedOptions {
  if (!labNamePattern.test(options.name)) {
    const expected = "at most 32 small letters, digits and hyphens, a letter first";
    return { ok: false, message: `--name ${options.name}: expected ${expected}` };
  }
  for (const [key, { min, max }] of Object.entries(bounds)) {
    const value = options[key as Count];
    if (Number.isSafeInteger(value) && value >= min && value <= max) continue;
    return { ok: false, message: `--${flagOf(key)} ${value}: expected a whole number from ${min} to ${max}` };
  }
  return { ok: true, options };
}

function flagOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
