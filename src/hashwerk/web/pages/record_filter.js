// What is looked for in the record of commands. It stands in the page's address, so that it can be kept and sent on.
export default {
  template: `
    <form class="record-filter" role="search" aria-label="Commands" @submit.prevent="go">
      <label v-for="field in fields" :key="field.name">{{ field.label }}
        <select v-if="field.options" :aria-label="field.label" v-model="values[field.name]" @change="go">
          <option v-for="[value, words] in field.options" :key="value" :value="value">{{ words }}</option>
        </select>
        <input v-else type="search" :aria-label="field.label" v-model="values[field.name]" :placeholder="field.hint" @search="go">
      </label>
      <span class="buttons">
        <button type="submit" class="plain-button">Show</button>
        <a v-if="isNarrowed" class="plain-button" :href="path">All</a>
      </span>
    </form>`,
  props: { path: String, fields: { type: Array, default: () => [] }, given: { type: Object, default: () => ({}) } },
  data() {
    return { values: Object.fromEntries(this.fields.map((field) => [field.name, this.given[field.name] ?? ""])) };
  },
  computed: {
    isNarrowed() {
      return Object.keys(this.given).length > 0;
    },
  },
  methods: {
    go() {
      const asked = Object.entries(this.values).filter(([, value]) => value.trim());
      const there = asked.length ? `${this.path}?${new URLSearchParams(asked)}` : this.path;
      if (there !== location.pathname + location.search) location.assign(there);
    },
  },
};
