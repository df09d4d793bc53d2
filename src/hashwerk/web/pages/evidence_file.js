// Verify files: dropped or chosen, sent to this mine only, checked there in a process of their own; several are held against each other.
const MARKS = { valid: "✓", incomplete: "▲", invalid: "✕" };
const SHAPES = { proven: "◆", attested: "◈", asserted: "◇" };
const LEADS = {
  valid: "Every claim this file makes holds.",
  incomplete: "Nothing contradicts, but a claim lacks its evidence.",
  invalid: "Do not believe this file: it contradicts itself or another one here.",
};
const KINDS = { receipts: "receipts", proof: "a proof", headers: "block headers", roots: "roots of time-stamping authorities", together: "all in all" };
const size = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

export default {
  template: `
    <div class="evidence-file">
      <label class="drop" :class="{ over, busy }" @dragover.prevent="over = true" @dragleave="over = false" @drop.prevent="drop">
        <input type="file" multiple class="unseen" :disabled="busy" @change="choose" aria-label="Bundles to verify, and what belongs to them">
        <b>{{ busy ? "Checking " + asked + " …" : "Drop bundles here, or choose them" }}</b>
        <span class="small muted">{{ busy ? "Every share is hashed again." : "Anybody's; several are held against each other. Receipts, proofs, block headers and authorities' roots count too. Nothing is kept." }}</span>
      </label>
      <label class="pin small">Key you know <input type="text" v-model.trim="key" spellcheck="false" autocomplete="off"
        placeholder="fingerprint of 64 digits, if you have it" :aria-invalid="!keyFits"></label>
      <p v-if="!keyFits" class="attention small">▲ A fingerprint has 64 hexadecimal digits.</p>
      <p v-if="trouble" class="act small" role="alert">■ {{ trouble }}</p>
      <template v-for="one in found" :key="one.name">
      <p v-if="!one.report" class="brought small" :class="{ act: one.problem }" role="status">{{ one.problem ? "✕" : "✓" }} <b>{{ one.name }}</b>, {{ kinds_[one.kind] ?? one.kind }}: {{ one.problem ?? one.words }}</p>
      <div v-else class="verdict" :class="one.report.verdict" role="status">
        <p class="verdict-head"><span aria-hidden="true">{{ marks[one.report.verdict] }}</span> <b>{{ one.report.verdict }}</b>
          <span v-if="one.report.subject !== 'unknown'" :class="{ hatched: one.report.subject === 'simulation', subject: true }">{{ one.report.subject }}</span></p>
        <p>{{ lead(one.report) }}</p>
        <p class="small muted">{{ one.name }}, {{ bytes(one.size) }}<template v-if="one.report.statement.period"> · {{ one.report.period }}</template></p>
        <ul v-if="failures(one.report).length" class="failures">
          <li v-for="check in failures(one.report)" :key="check.name"><b>{{ check.about }}:</b> {{ check.meaning }} <span class="small muted">{{ check.detail }}</span></li>
        </ul>
        <details v-if="one.report.figures.length" :open="!several"><summary>Figures and what each is worth</summary>
          <table><tbody><tr v-for="row in one.report.figures" :key="row.name"><th scope="row">{{ row.name }}</th>
            <td :class="{ refused: kind(row.label) === 'not' }">{{ row.value }}</td><td class="worth" :class="kind(row.label)">{{ worth(row.label) }}</td></tr></tbody></table></details>
        <details :open="!one.report.figures.length"><summary>{{ one.report.checks.length === 1 ? "The only check" : "All " + one.report.checks.length + " checks" }}</summary>
          <table><tbody><tr v-for="check in one.report.checks" :key="check.name" :title="check.name">
            <th scope="row">{{ check.about }}<span class="small muted found">{{ check.detail }}</span></th>
            <td class="worth" :class="check.ok ? kind(check.label) : 'act'">{{ check.ok ? worth(check.label) : "✕ does not hold" }}</td></tr></tbody></table></details>
        <details v-if="one.report.statement.not_shown?.length"><summary>Not shown by it</summary>
          <ul class="small"><li v-for="line in one.report.statement.not_shown" :key="line">{{ line }}</li></ul></details>
      </div>
      </template>
    </div>`,
  data: () => ({ over: false, busy: false, asked: "", key: "", found: [], trouble: "", marks: MARKS, kinds_: KINDS }),
  computed: {
    several() {
      return this.found.filter((one) => one.report).length > 1;
    },
    keyFits() {
      return this.key === "" || /^[0-9a-fA-F]{64}$/.test(this.key);
    },
  },
  methods: {
    bytes: size,
    lead(report) {
      const known = this.key ? "" : " Who made it was not checked: no key was pinned.";
      return LEADS[report.verdict] + (report.verdict === "valid" ? known : "");
    },
    failures: (report) => report.checks.filter((check) => !check.ok),
    kinds: (label) => (label.startsWith("not shown") ? [] : Object.keys(SHAPES).filter((kind) => label.includes(kind))),
    kind(label) {
      return this.kinds(label).at(-1) ?? "not"; // it looks like the least that is in it
    },
    worth(label) {
      return `${this.kinds(label).map((kind) => SHAPES[kind]).join("") || "✕"} ${label}`;
    },
    drop(event) {
      this.over = false;
      this.check([...event.dataTransfer.files]);
    },
    choose(event) {
      this.check([...event.target.files]);
      event.target.value = "";
    },
    async check(files) {
      if (this.busy || !this.keyFits || !files.length) return;
      const asked = files.length === 1 ? files[0].name : `${files.length} files`;
      [this.busy, this.found, this.trouble, this.asked] = [true, [], "", asked];
      const query = new URLSearchParams(files.flatMap((file) => [["size", file.size], ["name", file.name.slice(-200)]]));
      if (this.key) query.set("key", this.key);
      try {
        const response = await fetch(`/api/v1/evidence/verify/together?${query}`, {
          method: "POST",
          body: new Blob(files),
          headers: { "content-type": "application/octet-stream" },
          cache: "no-store",
        });
        const body = await response.json().catch(() => ({}));
        if (response.ok) this.found = body;
        else this.trouble = typeof body.detail === "string" ? body.detail : `the mine answers ${response.status}`;
      } catch {
        this.trouble = "The mine did not take the file; nothing was checked. Is it too large, or the mine away?";
      } finally {
        this.busy = false;
      }
    },
  },
};
