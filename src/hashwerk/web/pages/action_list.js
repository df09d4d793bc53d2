// Things that can be answered: alerts, orders. Each row says what is so, since when, and has its buttons.
import { post, remove, showToken } from "/assets/fleet/client.js";
import { hall } from "/assets/fleet/hall.js";

export default {
  template: `
    <div class="action-list">
      <p v-if="!rows.length" class="muted">{{ empty }}</p>
      <ul v-else :aria-label="label">
        <li v-for="row in rows" :key="row.k" :class="row.c">
          <span class="glyph" aria-hidden="true">{{ row.glyph }}</span>
          <div class="what"><p><b>{{ row.title }}</b> {{ row.text }}</p>
            <p v-if="row.since" class="small muted"><time :datetime="utc(row.since)">{{ local(row.since) }}</time><template v-if="row.note"> · {{ row.note }}</template></p></div>
          <div class="buttons">
            <button v-if="row.machines?.length && canShow" type="button" class="copyless" @click="show(row)" :aria-label="'Show ' + row.title">Show</button>
            <a v-if="row.href" :href="row.href" class="copyless">Open</a>
            <button v-for="action in row.actions" :key="action.t" type="button" class="copyless" :disabled="busy"
              @click="act(action)" :title="action.h" :aria-label="action.t + ' ' + row.title">{{ action.t }}</button>
          </div>
        </li>
      </ul>
      <div v-if="pending" class="token">
        <label>Access token <input type="password" autocomplete="off" v-model="secret" @keydown.enter.prevent="unlock"></label>
        <button type="button" class="plain-button" @click="unlock">Use it</button>
        <p class="small muted">A command needs one, also on this computer: it stands in <code>fleet.token</code> in the data folder.</p>
      </div>
      <p v-if="said" class="small" :class="{ act: isTrouble }" role="status">{{ said }}</p>
    </div>`,
  props: { rows: { type: Array, default: () => [] }, label: String, empty: String, canShow: Boolean },
  data: () => ({ busy: false, pending: null, secret: "", said: "", isTrouble: false }),
  methods: {
    local: (epoch) => window.hw.localTime(epoch),
    utc: (epoch) => new Date(epoch * 1000).toISOString(),
    show(row) {
      hall.select(row.machines);
      document.querySelector(".hall-canvas canvas")?.scrollIntoView({ block: "center" });
    },
    unlock() {
      showToken(this.secret);
      const action = this.pending;
      [this.secret, this.pending] = ["", null];
      return this.act(action);
    },
    async act(action) {
      [this.busy, this.said, this.isTrouble] = [true, "", false];
      const body = { ...action.body };
      if (action.for_s) body.until = Date.now() / 1000 + action.for_s;
      try {
        await (action.method === "DELETE" ? remove(action.path) : post(action.path, body));
        this.said = action.done;
      } catch (error) {
        if (error.status === 401) this.pending = action;
        else [this.said, this.isTrouble] = [error.message, true];
      } finally {
        this.busy = false;
      }
    },
  },
};
