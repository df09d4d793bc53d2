// An order to reduce power, placed by hand: first who would sleep, then the order itself.
import { post, showToken } from "/assets/fleet/client.js";

const KINDS = [
  { name: "reduce to", words: "Reduce to … kW", key: "to_kw" },
  { name: "reduce by", words: "Reduce by … kW", key: "by_kw" },
  { name: "all", words: "Everything sleeps", key: "all" },
];
const kw = (watts) => (watts === null || watts === undefined ? "–" : `${(watts / 1e3).toLocaleString("en-US", { maximumFractionDigits: 1 })} kW`);
const some = (count) => `${count.toLocaleString("en-US")} ${count === 1 ? "machine" : "machines"}`;

export default {
  template: `
    <form class="hall-orders energy-order" @submit.prevent="preview">
      <div class="fields">
        <label>What <select v-model="kind" @change="changed"><option v-for="k in kinds" :key="k.name" :value="k.name">{{ k.words }}</option></select></label>
        <label v-if="kind !== 'all'">kW <input type="number" min="0" step="any" required v-model="power_kw" @input="changed"></label>
        <label>Minutes <input type="number" min="1" max="1440" step="1" required v-model="minutes" @input="changed"></label>
      </div>
      <div class="buttons">
        <button type="submit" class="plain-button" :disabled="busy">Preview</button>
        <button type="button" class="act-button" :disabled="busy || !isReady" @click="act">Give the order</button>
      </div>
      <div v-if="asks" class="token">
        <label>Access token <input type="password" autocomplete="off" v-model="secret" @keydown.enter.prevent="unlock"></label>
        <button type="button" class="plain-button" @click="unlock">Use it</button>
        <p class="small muted">An order needs one, also on this computer: it stands in <code>fleet.token</code> in the data folder. It is kept until this tab closes.</p>
      </div>
      <p v-if="trouble" class="act small" role="alert">■ {{ trouble }}</p>
      <div v-if="result" class="result" role="status"><p>{{ result.text }}</p>
        <p v-if="result.note" class="attention small">▲ {{ result.note }}</p></div>
    </form>`,
  data: () => ({ kind: "reduce to", power_kw: "", minutes: 30, kinds: KINDS, busy: false, isReady: false, result: null, trouble: "", asks: false, secret: "" }),
  methods: {
    changed() {
      [this.isReady, this.result, this.trouble] = [false, null, ""];
    },
    unlock() {
      showToken(this.secret);
      [this.asks, this.secret] = [false, ""];
      return this.preview();
    },
    preview() {
      return this.attempt(async () => {
        const { key } = KINDS.find((one) => one.name === this.kind);
        const goal = { [key]: key === "all" ? true : Number(this.power_kw), preview: true, why: "preview of an order" };
        const plan = await post("fleet/curtail", goal);
        const from = `${kw(plan.total_w)} ${plan.is_metered ? "by the meter" : "as believed of the machines"}`;
        const note = [];
        if (plan.short_w > 0) note.push(`that is ${kw(plan.short_w)} short of what is wanted`);
        if (plan.skips.length) note.push(`${some(plan.skips.length)} left out: ${commonest(plan.skips)}`);
        if (plan.unknown) note.push(`the power of ${some(plan.unknown)} is not known`);
        const what = plan.steps.length ? `${some(plan.steps.length)} would be told to sleep or draw less: ${kw(plan.expected_w)} less, from ${from}, for ${this.minutes} min.` : `Nothing would change: ${from} is drawn now.`;
        this.result = { text: what, note: note.join("; ") };
        this.isReady = true;
      });
    },
    act() {
      return this.attempt(async () => {
        const stop = Date.now() / 1000 + 60 * Number(this.minutes);
        const amount_kw = this.kind === "all" ? null : Number(this.power_kw);
        const order = await post("energy/orders", { kind: this.kind, amount_kw, stop });
        this.isReady = false;
        this.result = { text: `Order ${order.id} is taken and on disk; what it delivers stands in the list.`, note: "" };
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
  },
};

function commonest(skips) {
  const counts = new Map();
  for (const { reason } of skips) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0][0];
}
