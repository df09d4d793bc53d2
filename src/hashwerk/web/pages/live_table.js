// A table that Vue patches in place: rows keep their identity, so focus, selection and scrolling stay where they are.
// A cell is text, or {t: text, s: sort value, c: class, h: title, e: Unix seconds, y: text to copy, u: where it leads}.
export default {
  template: `
    <div class="live-table">
      <div v-if="searchable" class="search">
        <label>Filter <input type="search" v-model="needle" :placeholder="searchable"></label>
      </div>
      <div class="scroll" tabindex="0" role="region" :aria-label="label">
        <table>
          <thead v-if="columns.length">
            <tr>
              <th v-for="(column, index) in columns" :key="column.t" scope="col" :class="column.c"
                  :aria-sort="order(index)" :title="column.h">
                <button v-if="sortable && column.t" type="button" @click="sortBy(index)">{{ column.t }}<span
                  class="mark" aria-hidden="true">{{ mark(index) }}</span></button>
                <template v-else>{{ column.t }}</template>
              </th>
            </tr>
          </thead>
          <tbody>
            <tr v-for="row in shown" :key="row.k">
              <td v-for="(cell, index) in row.c" :key="index" :class="[columns[index]?.c, cell.c]" :title="title(cell)"
                ><time v-if="cell.e" :datetime="utc(cell.e)">{{ local(cell.e) }}</time
                ><a v-else-if="cell.u" :href="cell.u">{{ text(cell) }}</a
                ><template v-else>{{ text(cell) }}</template
                ><button v-if="cell.y" type="button" class="copy small" :data-copy="cell.y"
                  :aria-label="'Copy ' + cell.y"></button></td>
            </tr>
            <tr v-if="!shown.length"><td class="empty" :colspan="columns.length || 9">{{ rows.length ? "Nothing matches the filter." : empty }}</td></tr>
          </tbody>
        </table>
      </div>
    </div>`,
  props: {
    columns: { type: Array, default: () => [] },
    rows: { type: Array, default: () => [] },
    label: String,
    empty: String,
    sortable: Boolean,
    searchable: String,
  },
  data: () => ({ column: null, down: true, needle: "" }),
  computed: {
    shown() {
      const needle = this.needle.trim().toLowerCase();
      const rows = needle
        ? this.rows.filter((row) => row.c.some((cell) => this.text(cell).toLowerCase().includes(needle)))
        : [...this.rows];
      if (this.column === null) return rows;
      const turn = this.down ? -1 : 1;
      return rows.sort((a, b) => turn * this.compare(a.c[this.column], b.c[this.column]));
    },
  },
  methods: {
    text: (cell) => (typeof cell === "string" ? cell : (cell.t ?? "")),
    value(cell) {
      return cell.s ?? cell.e ?? this.text(cell);
    },
    compare(a, b) {
      const [x, y] = [this.value(a), this.value(b)];
      return typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    },
    sortBy(index) {
      if (this.column !== index) [this.column, this.down] = [index, true];
      else if (this.down) this.down = false;
      else this.column = null;
    },
    order(index) {
      if (!this.sortable) return undefined;
      return this.column === index ? (this.down ? "descending" : "ascending") : "none";
    },
    mark(index) {
      return this.column === index ? (this.down ? " ↓" : " ↑") : "";
    },
    local: (epoch) => window.hw.localTime(epoch),
    utc: (epoch) => new Date(epoch * 1000).toISOString(),
    title(cell) {
      return cell.e ? [this.utc(cell.e), cell.h].filter(Boolean).join(" · ") : cell.h || null;
    },
  },
};
