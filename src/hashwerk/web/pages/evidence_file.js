// Verify a file: dropped or chosen, sent to this mine only, checked there in a process of its own.
const MARKS = { valid: "✓", incomplete: "▲", invalid: "✕" };
const SHAPES = { proven: "◆", attested: "◈", asserted: "◇" };
const LEADS = {
  valid: "Every claim this file makes holds.",
  incomplete: "Nothing contradicts, but a claim lacks its evidence.",
  invalid: "Do not believe this file: it contradicts itself.",
};
const size = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

export default {
  template: `
    <div class="evidence-file">
      <label class="drop" :class="{ over, busy }" @dragover.prevent="over = true" @dragleave="over = false" @drop.prevent="drop">
        <input type="file" class="unseen" :disabled="busy" @change="choose" aria-label="Bundle to verify">
        <b>{{ busy ? "Checking " + name + " …" : "Drop a bundle here, or choose one" }}</b>
        <span class="small muted">{{ busy ? "Every share is hashed again." : "Anybody's. It is checked on this mine and not kept." }}</span>
      </label>
      <label class="pin small">Key you know <input type="text" v-model.trim="key" spellcheck="false" autocomplete="off"
        placeholder="fingerprint of 64 digits, if you have it" :aria-invalid="!keyFits"></label>
      <p v-if="!keyFits" class="attention small">▲ A fingerprint has 64 hexadecimal digits.</p>
      <p v-if="trouble" class="act small" role="alert">■ {{ trouble }}</p>
      <div v-if="report" class="verdict" :class="report.verdict" role="status">
        <p class="verdict-head"><span aria-hidden="true">{{ mark }}</span> <b>{{ report.verdict }}</b>
          <span v-if="report.subject !== 'unknown'" :class="{ hatched: report.subject === 'simulation', subject: true }">{{ report.subject }}</span></p>
        <p>{{ lead }}</p>
        <p class="small muted">{{ name }}, {{ bytes }}<template v-if="report.statement.period"> · {{ report.period }}</template></p>
        <ul v-if="failures.length" class="failures">
          <li v-for="check in failures" :key="check.name"><b>{{ check.about }}:</b> {{ check.meaning }} <span class="small muted">{{ check.detail }}</span></li>
        </ul>
        <details v-if="report.figures.length" open><summary>Figures and what each is worth</summary>
          <table><tbody><tr v-for="row in report.figures" :key="row.name"><th scope="row">{{ row.name }}</th>
            <td :class="{ refused: kind(row.label) === 'not' }">{{ row.value }}</td><td class="worth" :class="kind(row.label)">{{ worth(row.label) }}</td></tr></tbody></table></details>
        <details :open="!report.figures.length"><summary>{{ report.checks.length === 1 ? "The only check" : "All " + report.checks.length + " checks" }}</summary>
          <table><tbody><tr v-for="check in report.checks" :key="check.name" :title="check.name">
            <th scope="row">{{ check.about }}<span class="small muted found">{{ check.detail }}</span></th>
            <td class="worth" :class="check.ok ? kind(check.label) : 'act'">{{ check.ok ? worth(check.label) : "✕ does not hold" }}</td></tr></tbody></table></details>
        <details v-if="report.statement.not_shown?.length"><summary>Not shown by it</summary>
          <ul class="small"><li v-for="line in report.statement.not_shown" :key="line">{{ line }}</li></ul></details>
      </div>
    </div>`,
  data: () => ({ over: false, busy: false, name: "", bytes: "", key: "", report: null, trouble: "" }),
  computed: {
    mark() {
      return MARKS[this.report.verdict];
    },
    lead() {
      const known = this.key ? "" : " Who made it was not checked: no key was pinned.";
      return LEADS[this.report.verdict] + (this.report.verdict === "valid" ? known : "");
    },
    failures() {
      return this.report.checks.filter((check) => !check.ok);
    },
    keyFits() {
      return this.key === "" || /^[0-9a-fA-F]{64}$/.test(this.key);
    },
  },
  methods: {
    kinds: (label) => (label.startsWith("not shown") ? [] : Object.keys(SHAPES).filter((kind) => label.includes(kind))),
    kind(label) {
      return this.kinds(label).at(-1) ?? "not"; // it looks like the least that is in it
    },
    worth(label) {
      return `${this.kinds(label).map((kind) => SHAPES[kind]).join("") || "✕"} ${label}`;
    },
    drop(event) {
      this.over = false;
      const [file] = event.dataTransfer.files;
      if (file) this.check(file);
    },
    choose(event) {
      const [file] = event.target.files;
      if (file) this.check(file);
      event.target.value = "";
    },
    async check(file) {
      if (this.busy || !this.keyFits) return;
      [this.busy, this.report, this.trouble, this.name, this.bytes] = [true, null, "", file.name, size(file.size)];
      try {
        const pinned = this.key ? `?key=${this.key}` : "";
        const response = await fetch(`/api/v1/evidence/verify${pinned}`, {
          method: "POST",
          body: file,
          headers: { "content-type": "application/octet-stream" },
          cache: "no-store",
        });
        const body = await response.json().catch(() => ({}));
        if (response.ok) this.report = body;
        else this.trouble = typeof body.detail === "string" ? body.detail : `the mine answers ${response.status}`;
      } catch {
        this.trouble = "The mine did not take the file; nothing was checked. Is it too large, or the mine away?";
      } finally {
        this.busy = false;
      }
    },
  },
};
