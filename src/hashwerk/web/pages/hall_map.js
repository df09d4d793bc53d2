// The hall as one canvas: a tile a machine, looked for, selected and read by mouse, touch and keyboard.
import { hall } from "/assets/fleet/hall.js";
import { Painter, colours, drawHall, hallHeight, layOut, tileAt, tileBeyond, tilesIn } from "/assets/fleet/tiles.js";

const DRAG_PX = 5;
const LEGEND = [
  ["hashing", "hashing"], ["asleep", "asleep"], ["falling asleep", "falling asleep"], ["waking", "waking"],
  ["changing mode", "changing mode"], ["rebooting", "rebooting"], ["faulty", "reports a fault"],
  ["unreachable", "does not answer"], ["unknown", "unknown"],
];

export default {
  template: `
    <div class="hall-map" :class="{ simulated: simulation }">
      <form class="hall-filter" role="search" @submit.prevent>
        <label class="grow"><span class="unseen">Text</span>
          <input type="search" v-model="filter.text" placeholder="address, model, place …" @input="look"></label>
        <label v-for="name in ['state', 'make', 'group', 'breaker']" :key="name" v-show="name === 'state' || choices[name]?.length">
          <span class="unseen">{{ name }}</span>
          <select v-model="filter[name]" @change="look" :aria-label="name">
            <option value="">any {{ name }}</option>
            <option v-if="name === 'state'" value="hand">needs a hand</option>
            <option v-for="[value, count] in choices[name]" :key="value" :value="value">{{ value }} ({{ count.toLocaleString("en-US") }})</option>
          </select></label>
        <button v-if="isFiltered" type="button" class="plain-button" @click="clear">Clear</button>
        <button type="button" class="plain-button" :disabled="!shown" @click="selectShown">Select {{ shown.toLocaleString("en-US") }}</button>
      </form>
      <p v-if="simulation" class="hall-simulation hatched">Simulated machines: shares are scaled, watts are not drawn.</p>
      <div v-show="count" ref="box" class="hall-canvas">
        <canvas ref="canvas" tabindex="0" role="application" aria-roledescription="hall map"
          :aria-label="count.toLocaleString('en-US') + ' machines. Arrow keys move, space selects, shift extends, enter opens, control A selects all that fit, escape selects none.'"
          @pointerdown="down" @pointermove="move" @pointerup="up" @pointercancel="drag = null; draw()"
          @pointerleave="hover = null; describe()" @dblclick="open" @keydown="press" @focus="draw" @blur="draw"></canvas>
      </div>
      <div v-if="!count" class="hall-empty">
        <p v-if="trouble" class="act">■ {{ trouble }}. It is asked again by itself.</p>
        <p v-else-if="loaded">No machine is known. <code>hashwerk fleet scan 10.0.0.0/24</code> finds them, <code>hashwerk twin</code> starts simulated ones.</p>
        <p v-else class="muted">Looking at the machines …</p>
      </div>
      <p v-if="count && trouble" class="attention small" role="status">▲ {{ trouble }}. What is shown is {{ age() }} old; machines go on as they are.</p>
      <div class="hall-foot" v-show="count">
        <ul class="hall-legend" aria-label="Legend">
          <li v-for="[state, words] in legend" :key="state"><canvas :data-state="state" width="14" height="14" aria-hidden="true"></canvas>{{ words }}</li>
          <li><canvas data-state="hashing" data-differs="4" width="14" height="14" aria-hidden="true"></canvas>split: told or said, against measured</li>
          <li><canvas data-state="hashing" data-alert="1" width="14" height="14" aria-hidden="true"></canvas>open alert</li>
          <li><canvas data-state="hashing" data-stale="1" width="14" height="14" aria-hidden="true"></canvas>not heard of lately</li>
        </ul>
        <p class="hall-said small" role="status" aria-live="polite">{{ said }}</p>
      </div>
    </div>`,
  data: () => ({
    filter: { ...hall.filter }, choices: {}, count: 0, shown: 0, simulation: false, loaded: false, trouble: "",
    said: "Point at a tile to read it; click, drag or use the keyboard to select.", legend: LEGEND,
  }),
  computed: {
    isFiltered() {
      return Object.values(this.filter).some(Boolean);
    },
  },
  mounted() {
    [this.cursor, this.hover, this.drag, this.anchor, this.layout, this.painter] = [null, null, null, null, null, null];
    this.listeners = { machines: () => this.take(), filter: () => this.fit(), selection: () => this.draw() };
    for (const [name, listener] of Object.entries(this.listeners)) hall.addEventListener(name, listener);
    this.sizes = new ResizeObserver(() => this.arrange());
    this.sizes.observe(this.$el);
    this.themes = new MutationObserver(() => this.repaint());
    this.themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.onScheme = () => this.repaint();
    this.scheme.addEventListener("change", this.onScheme);
    hall.start();
  },
  unmounted() {
    hall.stop();
    for (const [name, listener] of Object.entries(this.listeners)) hall.removeEventListener(name, listener);
    this.sizes.disconnect();
    this.themes.disconnect();
    this.scheme.removeEventListener("change", this.onScheme);
  },
  methods: {
    take() {
      [this.loaded, this.trouble] = [hall.machines !== null, hall.trouble];
      if (!hall.machines?.count) this.uncover();
      if (hall.machines === null || hall.trouble) return;
      const machines = hall.machines;
      const stands = machines.key.join() + machines.row.join() + machines.hall.join() + machines.shelf.join() + machines.ip.join();
      [this.count, this.simulation, this.choices] = [machines.count, machines.simulation, machines.choices()];
      this.fit();
      if (stands === this.stands) return this.draw();
      this.stands = stands;
      this.bands = machines.bands();
      this.cursor = this.hover = null;
      this.$nextTick(() => this.arrange());
    },
    fit() {
      Object.assign(this.filter, hall.filter);
      this.shown = hall.fits.reduce((sum, fits) => sum + fits, 0);
      this.draw();
    },
    look() {
      hall.look({ ...this.filter });
    },
    clear() {
      hall.look({ text: "", state: "", make: "", group: "", breaker: "" });
    },
    selectShown() {
      hall.select(hall.machines.key.filter((_, index) => hall.fits[index]));
    },
    arrange() {
      if (!this.count || !this.$refs.box) return;
      const width = this.$refs.box.clientWidth;
      if (!width) return;
      this.layout = layOut(this.bands, this.count, width, hallHeight());
      this.scale = window.devicePixelRatio || 1;
      const canvas = this.$refs.canvas;
      canvas.width = Math.round(width * this.scale);
      canvas.height = Math.round(this.layout.height * this.scale);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${this.layout.height}px`;
      this.repaint();
    },
    repaint() {
      if (!this.layout) return;
      this.painter = new Painter(this.layout.size, this.scale, colours());
      for (const canvas of this.$el.querySelectorAll(".hall-legend canvas")) {
        const { state, differs, stale, alert } = canvas.dataset;
        canvas.width = canvas.height = 14 * this.scale;
        const context = canvas.getContext("2d");
        context.scale(this.scale, this.scale);
        new Painter(14, this.scale, this.painter.palette).draw(context, 0, 0, state, Number(differs ?? 0), stale, alert);
      }
      this.draw();
    },
    draw() {
      if (!this.layout || !this.painter || this.layout.x.length !== hall.machines.count) return;
      const context = this.$refs.canvas.getContext("2d");
      context.setTransform(this.scale, 0, 0, this.scale, 0, 0);
      const isFocused = document.activeElement === this.$refs.canvas;
      drawHall(context, hall.machines, this.layout, {
        fits: hall.fits, selected: hall.selected, indexOf: hall.indexOf, drag: this.drag,
        cursor: isFocused && this.cursor !== null ? this.cursor : this.hover,
      }, this.painter);
      this.$el.dataset.drawn = hall.machines.count;
      this.uncover();
    },
    /** Take away the first picture: the page itself shows the same now. */
    uncover() {
      document.getElementById("first")?.remove();
    },
    describe() {
      const index = this.hover ?? this.cursor;
      if (index !== null) this.said = hall.machines.words(index);
      this.draw();
    },
    at(event) {
      return [event.offsetX, event.offsetY];
    },
    down(event) {
      if (event.button || !this.layout) return;
      this.$refs.canvas.focus();
      this.from = this.at(event);
      if (event.pointerType !== "touch") this.$refs.canvas.setPointerCapture(event.pointerId);
    },
    move(event) {
      if (!this.layout) return;
      const here = this.at(event);
      if (this.from && event.pointerType !== "touch") {
        const far = Math.hypot(here[0] - this.from[0], here[1] - this.from[1]);
        if (this.drag || far > DRAG_PX) this.drag = [this.from, here];
      }
      const hover = tileAt(this.layout, ...here);
      if (hover === this.hover && !this.drag) return;
      this.hover = hover;
      this.describe();
    },
    up(event) {
      if (!this.from) return;
      const [from, drag] = [this.from, this.drag];
      [this.from, this.drag] = [null, null];
      const isAdding = event.shiftKey || event.ctrlKey || event.metaKey;
      if (drag) return this.choose(tilesIn(this.layout, ...drag), isAdding);
      const index = tileAt(this.layout, ...from);
      if (index === null) return isAdding || hall.select([]);
      this.cursor = index;
      if (event.shiftKey && this.anchor !== null) return this.choose(this.between(this.anchor, index), true);
      this.anchor = index;
      if (event.ctrlKey || event.metaKey || event.pointerType === "touch") return this.toggle(index);
      return this.choose([index], false);
    },
    choose(indices, isAdding) {
      const keys = indices.filter((index) => hall.fits[index]).map((index) => hall.machines.key[index]);
      hall.select(isAdding ? [...hall.selected, ...keys] : keys);
      this.describe();
    },
    toggle(index) {
      const key = hall.machines.key[index];
      const chosen = new Set(hall.selected);
      if (!chosen.delete(key)) chosen.add(key);
      hall.select(chosen);
      this.describe();
    },
    between(a, b) {
      const { order } = this.layout;
      const [first, last] = [order.indexOf(a), order.indexOf(b)].sort((x, y) => x - y);
      return order.slice(first, last + 1);
    },
    press(event) {
      if (!this.layout) return;
      const { order } = this.layout;
      const at = this.cursor === null ? -1 : order.indexOf(this.cursor);
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      let next = null;
      if (step) next = order[Math.min(Math.max(at + step, 0), order.length - 1)];
      else if (event.key === "ArrowDown" || event.key === "ArrowUp")
        next = this.cursor === null ? order[0] : tileBeyond(this.layout, this.cursor, event.key === "ArrowDown");
      else if (event.key === "Home") next = order[0];
      else if (event.key === "End") next = order.at(-1);
      else if (event.key === " " && this.cursor !== null) [this.anchor] = [this.cursor, this.toggle(this.cursor)];
      else if (event.key === "Enter") this.open();
      else if (event.key === "Escape") hall.select([]);
      else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.selectShown();
      else return;
      event.preventDefault();
      if (next === null || next === undefined) return;
      this.anchor ??= this.cursor ?? next;
      [this.cursor, this.hover] = [next, null];
      if (event.shiftKey) this.choose(this.between(this.anchor, next), true);
      else this.anchor = next;
      this.describe();
    },
    open() {
      const index = this.hover ?? this.cursor;
      if (index !== null) window.location.assign(`/machine/${encodeURIComponent(hall.machines.key[index])}`);
    },
    age() {
      return `${Math.round(Date.now() / 1000 - hall.machines.at)} s`;
    },
  },
};
