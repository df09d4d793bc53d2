// Power now by source: parts of a bar with their names under it, and a mark at the set-point.
export default {
  template: `
    <div class="power-bar">
      <div class="power-track" aria-hidden="true">
        <i v-for="part in bar.parts" :key="part.name" :class="part.c" :style="{ width: part.width + '%' }"></i>
        <b v-if="bar.setpoint !== null && bar.setpoint !== undefined" :style="{ left: bar.setpoint + '%' }"></b>
      </div>
      <ul v-if="bar.parts?.length" :aria-label="label">
        <li v-for="part in bar.parts" :key="part.name" :class="part.c"><span class="what">{{ part.name }}<template v-if="!part.name.includes(part.kind)"> <em>({{ part.kind }})</em></template></span>
          <span class="number">{{ part.text }}</span><span class="number muted">{{ part.share }}</span></li>
      </ul>
      <p v-else class="small muted">No meter and no machine tells what is drawn.</p>
    </div>`,
  props: { bar: { type: Object, default: () => ({ parts: [], setpoint: null }) }, label: String },
};
