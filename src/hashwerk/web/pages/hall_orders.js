// What is done to many machines at once: first a preview that says who is left out and why, then the order itself.
import { post, showToken } from "/assets/fleet/client.js";
import { hall } from "/assets/fleet/hall.js";

const ACTIONS = [
  { name: "curtail-to", words: "Curtail to …", of: "fleet", needs: "kw", hint: "No more than so many kW altogether" },
  { name: "curtail-by", words: "Curtail by …", of: "fleet", needs: "kw", hint: "So many kW less than now" },
  { name: "resume", words: "Resume", of: "fleet", hint: "Put back what orders changed" },
  { name: "sleep", words: "Sleep", of: "selection" },
  { name: "selection-to", words: "Curtail these to …", of: "selection", needs: "kw", hint: "No more than so many kW for what is selected" },
  { name: "selection-by", words: "Curtail these by …", of: "selection", needs: "kw", hint: "So many kW less than these draw now" },
  { name: "wake", words: "Wake", of: "selection" },
  { name: "mode", words: "Change mode …", of: "selection", needs: "mode" },
  { name: "locate", words: "Locate: light on", of: "selection" },
  { name: "dark", words: "Locate: light off", of: "selection" },
  { name: "reboot", words: "Reboot", of: "selection" },
];
const kw = (watts) => (watts === null || watts === undefined ? "–" : `${(watts / 1e3).toLocaleString("en-US", { maximumFractionDigits: 1 })} kW`);
const some = (count) => `${count.toLocaleString("en-US")} ${count === 1 ? "machine" : "machines"}`;

export default {
  template: `
    <form class="hall-orders" @submit.prevent="preview">
      <p class="scope"><b>{{ selected ? some(selected) + " selected" : "Nothing selected" }}</b>
        <button v-if="selected" type="button" class="linkish" @click="none">none</button>
        <span v-if="sums" class="small muted">{{ kw(sums.power_w) }} now<template v-if="sums.unknown">, {{ sums.unknown }} unknown</template></span></p>
      <div class="fields">
        <label>What <select v-model="action" @change="changed">
          <optgroup :label="group ? 'Group ' + group : 'The whole fleet'"><option v-for="a in fleetActions" :key="a.name" :value="a.name">{{ a.words }}</option></optgroup>
          <optgroup label="What is selected"><option v-for="a in selectionActions" :key="a.name" :value="a.name">{{ a.words }}</option></optgroup>
        </select></label>
        <label v-if="chosen.needs === 'kw'">kW <input type="number" min="0" step="any" required v-model="power_kw" @input="changed" :title="chosen.hint"></label>
        <label v-if="chosen.needs === 'mode'">Mode <input list="hall-modes" required v-model="mode" @input="changed">
          <datalist id="hall-modes"><option v-for="m in modes" :key="m" :value="m"></option></datalist></label>
        <label class="grow">Why <input v-model="why" maxlength="200" placeholder="goes into the record"></label>
      </div>
      <p class="small muted" v-if="chosen.of === 'fleet'">Concerns {{ group ? "group " + group : "the whole fleet, whatever is selected" }}; choose a group in the filter to narrow it.</p>
      <div class="buttons">
        <button type="submit" class="plain-button" :disabled="busy || (chosen.of === 'selection' && !selected)">Preview</button>
        <button type="button" class="act-button" :disabled="busy || !isReady" @click="act">{{ chosen.words.replace(" …", "") }}{{ told ? ": tell " + some(told) : "" }}</button>
      </div>
      <div v-if="asks" class="token">
        <label>Access token <input type="password" autocomplete="off" v-model="secret" @keydown.enter.prevent="unlock"></label>
        <button type="button" class="plain-button" @click="unlock">Use it</button>
        <p class="small muted">A command needs one, also on this computer: it stands in <code>fleet.token</code> in the data folder. It is kept until this tab closes.</p>
      </div>
      <p v-if="trouble" class="act small" role="alert">■ {{ trouble }}</p>
      <div v-if="result" class="result" role="status">
        <p>{{ result.text }}</p>
        <p v-if="result.note" class="attention small">▲ {{ result.note }}</p>
        <table v-if="result.reasons.length"><caption class="small muted">Left out, and why</caption>
          <tr v-for="[reason, keys] in result.reasons" :key="reason"><td class="number">{{ keys.length.toLocaleString("en-US") }}</td><td>{{ reason }}</td>
            <td><button type="button" class="linkish" @click="show(keys)" :aria-label="'Show the machines left out because ' + reason">show</button></td></tr></table>
      </div>
    </form>`,
  data: () => ({
    action: "curtail-to", power_kw: "", mode: "", why: "", selected: 0, sums: null, group: "", modes: [], busy: false,
    isReady: false, told: 0, result: null, trouble: "", asks: false, secret: "",
    fleetActions: ACTIONS.filter((a) => a.of === "fleet"), selectionActions: ACTIONS.filter((a) => a.of === "selection"),
  }),
  computed: {
    chosen() {
      return ACTIONS.find((action) => action.name === this.action);
    },
  },
  mounted() {
    this.listeners = {
      selection: () => this.reselected(),
      machines: () => this.count(),
      filter: () => (this.group !== hall.filter.group && ((this.group = hall.filter.group), this.changed())),
    };
    for (const [name, listener] of Object.entries(this.listeners)) hall.addEventListener(name, listener);
  },
  unmounted() {
    for (const [name, listener] of Object.entries(this.listeners)) hall.removeEventListener(name, listener);
  },
  methods: {
    kw,
    some,
    count() {
      this.selected = hall.selected.size;
      if (!hall.machines) return;
      this.modes = hall.machines.choices().mode.map(([name]) => name);
      this.sums = this.selected ? hall.machines.sums([...hall.selected].map((key) => hall.indexOf.get(key))) : null;
    },
    reselected() {
      if (!this.isShowing || this.chosen.of === "selection") this.isReady = false;
      if (!this.isShowing) this.changed();
      this.count();
      if (!this.isShowing && this.selected && this.chosen.of === "fleet" && !this.power_kw) this.action = "sleep";
    },
    none() {
      hall.select([]);
    },
    changed() {
      [this.isReady, this.told, this.result, this.trouble] = [false, 0, null, ""];
    },
    unlock() {
      showToken(this.secret);
      [this.asks, this.secret] = [false, ""];
      return this.preview();
    },
    preview() {
      return this.attempt(async () => {
        const answer = await this.ask(true);
        [this.result, this.told, this.isReady] = [answer, answer.told, answer.told > 0];
      });
    },
    act() {
      return this.attempt(async () => {
        this.result = await this.ask(false);
        [this.isReady, this.told] = [false, 0];
        await hall.refresh();
      });
    },
    async attempt(work) {
      if (this.busy) return;
      [this.busy, this.trouble] = [true, ""];
      try {
        await work();
      } catch (error) {
        if (error.status === 401) this.asks = true;
        else this.trouble = error.message;
      } finally {
        this.busy = false;
      }
    },
    ask(isDry) {
      const why = this.why.trim() || "by hand on the page";
      if (this.action === "resume") return this.resume(isDry, why);
      return this.chosen.needs === "kw" ? this.curtail(isDry, why) : this.tell(isDry, why);
    },
    async curtail(isDry, why) {
      const whose = this.chosen.of === "fleet" ? { group: this.group || null } : { machines: [...hall.selected] };
      const goal = { [this.action.endsWith("-to") ? "to_kw" : "by_kw"]: Number(this.power_kw), ...whose, why };
      if (!isDry) return this.given(await post("fleet/curtail", goal));
      const plan = await post("fleet/curtail", { ...goal, preview: true });
      const from = `${kw(plan.total_w)} ${plan.is_metered ? "by the meter" : "as believed of the machines"}`;
      const short = plan.short_w > 0 ? ` That is ${kw(plan.short_w)} short of what is wanted.` : "";
      return {
        told: plan.steps.length,
        text: `${some(plan.steps.length)} would be told: ${kw(plan.expected_w)} less, from ${from}.${short}`,
        note: plan.unknown ? `the power of ${some(plan.unknown)} is not known` : "",
        reasons: byReason(plan.skips),
      };
    },
    async resume(isDry, why) {
      const answer = await post("fleet/resume", { group: this.group || null, why, dry_run: isDry });
      const wake = answer.would_wake?.length ?? 0;
      const told = answer.orders.reduce((sum, order) => sum + order.machines, 0) + wake;
      const orders = `${answer.orders.length} ${answer.orders.length === 1 ? "order" : "orders"}`;
      const text = !isDry ? `${orders}: being put back, in the reverse order.`
        : wake ? `${some(wake)} would be woken.`
        : told ? `${orders} with ${some(told)} would be put back.`
        : "Nothing is curtailed, and no machine was told to sleep.";
      return { told: isDry ? told : 0, text, note: answer.orders[0]?.note ?? "", reasons: [] };
    },
    async tell(isDry, why) {
      const command = { machines: [...hall.selected], why, command: this.action };
      if (this.action === "dark") Object.assign(command, { command: "locate", on: false });
      if (this.action === "mode") command.mode = this.mode;
      if (!isDry) return this.given(await post("fleet/commands", command));
      const plan = await post("fleet/commands", { ...command, preview: true });
      const told = plan.steps.length;
      return { told, text: `${some(told)} would be told: ${plan.steps[0]?.command ?? this.action}.`, note: "", reasons: byReason(plan.skips) };
    },
    given(order) {
      const text = order.dry_run ? `Order ${order.id} was a dry run: nothing is sent.` : `Order ${order.id} is given and on disk; it is carried out in waves. What it does stands under Orders.`;
      return { told: 0, text, note: order.note ?? "", reasons: [] };
    },
    // Look at who is left out; what the preview says stays.
    show(keys) {
      this.isShowing = true;
      hall.select(keys);
      this.isShowing = false;
    },
  },
};

function byReason(skips) {
  const found = new Map();
  for (const { machine, reason } of skips) {
    if (!found.has(reason)) found.set(reason, []);
    found.get(reason).push(machine);
  }
  return [...found].sort((a, b) => b[1].length - a[1].length);
}
