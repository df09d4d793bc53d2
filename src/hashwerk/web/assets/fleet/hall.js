// What the parts of the page Hall have in common: the machines, what is looked for, and what is selected.
import { get } from "/assets/fleet/client.js";
import { Machines } from "/assets/fleet/columns.js";

const EVERY_MS = 2_000;
const COLUMNS = "machines?format=columns";

class Hall extends EventTarget {
  machines = null;
  indexOf = new Map();
  selected = new Set();
  filter = { text: "", state: "", make: "", group: "", breaker: "" };
  fits = new Uint8Array();
  trouble = "";
  _timer = null;
  _users = 0;
  // Asked for while the page is still being built: a fifth of a second earlier.
  first = location.pathname === "/hall" ? get(COLUMNS).catch((error) => error) : null;
  _wanted = new URLSearchParams(location.search).getAll("select");

  /** Keep the machines up to date while somebody looks. */
  start() {
    this._users += 1;
    if (this._users === 1) this._tick();
  }

  stop() {
    this._users -= 1;
    if (this._users === 0) clearTimeout(this._timer);
  }

  async _tick() {
    if (!document.hidden) await this.refresh();
    if (this._users > 0) this._timer = setTimeout(() => this._tick(), EVERY_MS);
  }

  async refresh() {
    try {
      const columns = await (this.first ?? get(COLUMNS));
      this.first = null;
      if (columns instanceof Error) throw columns;
      this.show(new Machines(columns));
    } catch (error) {
      this.trouble = error.message;
      this._tell("machines");
    }
  }

  show(machines) {
    this.machines = machines;
    this.trouble = "";
    this.indexOf = new Map(machines.key.map((key, index) => [key, index]));
    this.fits = machines.fits(this.filter);
    for (const key of this.selected) if (!this.indexOf.has(key)) this.selected.delete(key);
    this._tell("machines");
    if (this._wanted) [this._wanted] = [null, this.select(this._wanted)];
  }

  look(filter) {
    Object.assign(this.filter, filter);
    if (this.machines) this.fits = this.machines.fits(this.filter);
    this._tell("filter");
  }

  /** Select machines by key; those not known are left out. */
  select(keys) {
    this.selected = new Set([...keys].filter((key) => this.indexOf.has(key)));
    this._tell("selection");
  }

  _tell(name) {
    this.dispatchEvent(new Event(name));
  }
}

export const hall = new Hall();
