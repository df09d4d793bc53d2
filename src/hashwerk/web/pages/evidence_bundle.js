// The evidence of a period as one file. Times are entered as they are on this computer's clock.
const SPANS = [
  { name: "Last hour", s: 3600 },
  { name: "Last 24 hours", s: 86400 },
  { name: "Last 7 days", s: 604800 },
  { name: "From … to …", s: null },
];

export default {
  template: `
    <form class="evidence-bundle" @submit.prevent="take">
      <div class="fields">
        <label>Period <select v-model="span"><option v-for="one in spans" :key="one.name" :value="one.name">{{ one.name }}</option></select></label>
        <template v-if="isFree">
          <label>From <input type="datetime-local" required v-model="from"></label>
          <label>To <input type="datetime-local" required v-model="to"></label>
        </template>
        <button type="submit" class="plain-button" :disabled="busy">{{ busy ? "Being made …" : "Download" }}</button>
      </div>
      <p class="small muted">One file with all closed epochs of the period. Anybody checks it without network: <code>hashwerk verify FILE</code></p>
      <p v-if="trouble" class="act small" role="alert">■ {{ trouble }}</p>
      <p v-if="said" class="small" role="status">✓ {{ said }}</p>
    </form>`,
  data: () => ({ span: SPANS[0].name, spans: SPANS, from: "", to: "", busy: false, said: "", trouble: "" }),
  computed: {
    isFree() {
      return SPANS.find((one) => one.name === this.span).s === null;
    },
  },
  methods: {
    period() {
      if (this.isFree) return [Date.parse(this.from) / 1000, Date.parse(this.to) / 1000];
      const now = Date.now() / 1000;
      return [now - SPANS.find((one) => one.name === this.span).s, now];
    },
    async take() {
      [this.busy, this.said, this.trouble] = [true, "", ""];
      const [from, to] = this.period();
      try {
        const response = await fetch(`/api/v1/evidence/bundle?from=${from}&to=${to}`, { cache: "no-store" });
        if (!response.ok) {
          const body = await response.json().catch(() => ({}));
          this.trouble = typeof body.detail === "string" ? body.detail : `the mine answers ${response.status}`;
          return;
        }
        const name = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? "evidence.hwe";
        const link = document.createElement("a");
        link.href = URL.createObjectURL(await response.blob());
        link.download = name;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
        this.said = `${name} is in your downloads.`;
      } catch {
        this.trouble = "The mine does not answer; try again when it does.";
      } finally {
        this.busy = false;
      }
    },
  },
};
