// All machines as columns, and what is worked out of them: names, filters, sums, and where each tile stands.
export const DIFFERS_FROM_COMMAND = 1;
export const DIFFERS_IN_POWER = 2;
export const DIFFERS_IN_HASHRATE = 4;
export const IS_STALE = 8;
const DIFFERS = DIFFERS_FROM_COMMAND | DIFFERS_IN_POWER | DIFFERS_IN_HASHRATE;
const NEEDS_A_HAND = new Set(["faulty", "unreachable", "unknown"]);

const natural = new Intl.Collator("en", { numeric: true });
const orNothing = (text) => text ?? "";
const address = (ip) => (ip ? ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0) : Infinity);

export class Machines {
  constructor(columns) {
    Object.assign(this, columns);
    this.count = this.key.length;
  }

  stateOf(index) {
    return this.states[this.state[index]];
  }

  modelOf(index) {
    return this.models[this.model[index]];
  }

  makeOf(index) {
    return this.modelOf(index).split(" ")[0];
  }

  differs_(index) {
    return this.differs[index] & DIFFERS;
  }

  isStale(index) {
    return (this.differs[index] & IS_STALE) !== 0;
  }

  needsAHand(index) {
    return NEEDS_A_HAND.has(this.stateOf(index)) || this.differs_(index) !== 0 || this.alerts[index] > 0;
  }

  placeOf(index) {
    const parts = [["hall", this.hall[index]], ["row", this.row[index]], ["shelf", this.shelf[index]]];
    return parts.filter(([, value]) => value).map(([name, value]) => `${name} ${value}`).join(", ");
  }

  /** What can be filtered by, each with how many machines it has. */
  choices() {
    const of = (value) => {
      const counts = new Map();
      for (let index = 0; index < this.count; index++) {
        const name = value(index);
        if (name) counts.set(name, (counts.get(name) ?? 0) + 1);
      }
      return [...counts].sort((a, b) => natural.compare(a[0], b[0]));
    };
    return {
      state: of((index) => this.stateOf(index)),
      make: of((index) => this.makeOf(index)),
      group: of((index) => this.group[index]),
      breaker: of((index) => this.breaker[index]),
      mode: of((index) => this.mode[index]),
    };
  }

  /** One flag a machine: whether it fits what is looked for. */
  fits(filter) {
    const words = filter.text.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const found = new Uint8Array(this.count);
    for (let index = 0; index < this.count; index++) {
      found[index] =
        (!filter.state || (filter.state === "hand" ? this.needsAHand(index) : this.stateOf(index) === filter.state)) &&
        (!filter.make || this.makeOf(index) === filter.make) &&
        (!filter.group || this.group[index] === filter.group) &&
        (!filter.breaker || this.breaker[index] === filter.breaker) &&
        this._says(index, words);
    }
    return found;
  }

  _says(index, words) {
    if (!words.length) return true;
    const text = [this.key[index], this.ip[index], this.modelOf(index), this.placeOf(index), this.mode[index]];
    const whole = text.map(orNothing).join(" ").toLowerCase();
    return words.every((word) => whole.includes(word));
  }

  /** Watts and hashes of some machines; missing is left out and counted. */
  sums(indices) {
    const sum = { machines: 0, hand: 0, power_w: null, unknown: 0, reported_ths: null, measured_ths: null };
    for (const index of indices) {
      sum.machines += 1;
      sum.hand += this.needsAHand(index) ? 1 : 0;
      if (this.power_w[index] === null) sum.unknown += 1;
      for (const name of ["power_w", "reported_ths", "measured_ths"]) {
        if (this[name][index] !== null) sum[name] = (sum[name] ?? 0) + this[name][index];
      }
    }
    return sum;
  }

  /** One machine in one sentence, for those who listen. */
  words(index) {
    const parts = [this.ip[index] ?? this.key[index], this.modelOf(index), this.placeOf(index), this.stateOf(index)];
    if (this.commanded[index]) parts.push(`told: ${this.commanded[index]}`);
    if (this.power_w[index] !== null) parts.push(`${this.power_w[index].toLocaleString("en-US")} W`);
    return [...parts.filter(Boolean), ...this.differences(index)].join(", ");
  }

  /** In plain words, how the three truths of a machine part. */
  differences(index) {
    const found = [];
    if (this.differs[index] & DIFFERS_FROM_COMMAND) {
      const told = this.commanded[index];
      found.push(`it was ${told ? `told: ${told}` : "not told to sleep"}, and is ${this.stateOf(index)}`);
    }
    if (this.differs[index] & DIFFERS_IN_POWER) found.push("its power is not what it says");
    if (this.differs[index] & DIFFERS_IN_HASHRATE) found.push("its shares do not bear out its hash rate");
    if (this.isStale(index)) found.push("not heard of lately");
    return found;
  }

  /** Machines as they stand: bands of one row of a hall each; without a place by network, in the order of addresses. */
  bands() {
    const bands = new Map();
    for (let index = 0; index < this.count; index++) {
      const isPlaced = this.hall[index] || this.row[index];
      const net = this.ip[index]?.split(".").slice(0, 3).join(".");
      const label = isPlaced
        ? [this.hall[index], this.row[index]].map(orNothing).join(" ").trim()
        : net ? `${net}.x` : "no address";
      const name = (isPlaced ? "0" : "1") + label;
      if (!bands.has(name)) bands.set(name, { name, label, isPlaced, machines: [] });
      bands.get(name).machines.push(index);
    }
    const ordered = [...bands.values()].sort((a, b) => natural.compare(a.name, b.name));
    const addresses = this.ip.map(address);
    const shelves = this.shelf.map(orNothing);
    for (const band of ordered) {
      band.machines.sort(
        (a, b) => (band.isPlaced && natural.compare(shelves[a], shelves[b])) || addresses[a] - addresses[b] || a - b,
      );
    }
    return ordered;
  }
}
