/** The part of `hashring` that baton uses; the package has no types of its own. */
declare module "hashring" {
  // biome-ignore lint/style/noDefaultExport: that is how the package exports it.
  export default class HashRing {
    constructor(servers: Readonly<Record<string, { readonly vnodes: number }>>);
    /** The first `size` distinct servers from the key's place on the ring on. */
    range(key: string, size: number): string[];
  }
}
