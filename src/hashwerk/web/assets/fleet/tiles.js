// Where tiles stand on the canvas, and what one looks like. State is shape and colour; where truths part, the tile is split.
import { DIFFERS_FROM_COMMAND } from "/assets/fleet/columns.js";

const LABEL_PX = 84;
const LETTER_PX = 6.6;
const SMALLEST_PX = 9;
const LARGEST_PX = 30;
const BAND_GAP_PX = 5;

/** Return how high the map may be for all of it to be seen without scrolling. */
export const hallHeight = () => Math.max(280, window.innerHeight - 330);

/** Return the largest tiles that let all bands be seen at once, and where each stands. */
export function layOut(bands, count, width, height) {
  const lengths = bands.map((band) => band.machines.length);
  const longest = Math.max(0, ...bands.map((band) => band.label.length));
  const left = Math.min(LABEL_PX, Math.ceil(longest * LETTER_PX) + 12);
  const lines = (pitch) => {
    const across = Math.max(1, Math.floor((width - left) / pitch));
    return lengths.reduce((sum, length) => sum + Math.ceil(length / across), 0);
  };
  let pitch = LARGEST_PX;
  while (pitch > SMALLEST_PX && lines(pitch) * pitch + bands.length * BAND_GAP_PX > height) pitch -= 1;
  const across = Math.max(1, Math.floor((width - left) / pitch));
  const x = new Float32Array(count);
  const y = new Float32Array(count);
  const labels = [];
  const order = [];
  let top = 2;
  for (const band of bands) {
    labels.push({ text: band.label, y: top + pitch / 2 });
    band.machines.forEach((index, number) => {
      x[index] = left + (number % across) * pitch;
      y[index] = top + Math.floor(number / across) * pitch;
      order.push(index);
    });
    top += Math.ceil(band.machines.length / across) * pitch + BAND_GAP_PX;
  }
  return { x, y, labels, order, pitch, across, size: pitch - (pitch > 14 ? 3 : 2), left, height: Math.ceil(top + 2) };
}

/** Return the machine under a point of the canvas; null where there is none. */
export function tileAt(layout, px, py) {
  const { x, y, pitch } = layout;
  for (let index = 0; index < x.length; index++) {
    if (px >= x[index] && px < x[index] + pitch && py >= y[index] && py < y[index] + pitch) return index;
  }
  return null;
}

/** Return the machines whose tiles touch a rectangle. */
export function tilesIn(layout, [x0, y0], [x1, y1]) {
  const [left, right, top, bottom] = [Math.min(x0, x1), Math.max(x0, x1), Math.min(y0, y1), Math.max(y0, y1)];
  return layout.order.filter(
    (index) =>
      layout.x[index] + layout.size >= left && layout.x[index] <= right &&
      layout.y[index] + layout.size >= top && layout.y[index] <= bottom,
  );
}

/** Return the nearest machine above or below. */
export function tileBeyond(layout, from, down) {
  const sign = down ? 1 : -1;
  let best = null;
  let least = Infinity;
  for (const index of layout.order) {
    const rise = sign * (layout.y[index] - layout.y[from]);
    if (rise < layout.pitch / 2) continue;
    const far = rise * 8 + Math.abs(layout.x[index] - layout.x[from]);
    if (far < least) [best, least] = [index, far];
  }
  return best;
}

export function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = ["panel", "sunk", "ink", "muted", "line-strong", "violet", "violet-band", "amber", "red"];
  return Object.fromEntries(names.map((name) => [name, of(name)]));
}

const SHAPES = {
  // Most machines do what they should: they stand back, so that the others come forward.
  hashing: (c, s, k) => {
    fill(c, k.panel, () => c.rect(0, 0, s, s));
    const alpha = c.globalAlpha;
    c.globalAlpha = alpha * 0.52;
    fill(c, k.violet, () => c.rect(0, 0, s, s));
    c.globalAlpha = alpha;
  },
  asleep: (c, s, k) => {
    fill(c, k.panel, () => c.rect(0, 0, s, s));
    stroke(c, k.muted, () => c.rect(0.75, 0.75, s - 1.5, s - 1.5));
    fill(c, k.muted, () => c.rect(s * 0.28, s / 2 - 0.75, s * 0.44, 1.5));
  },
  "falling asleep": (c, s, k) => {
    fill(c, k["violet-band"], () => c.rect(0, 0, s, s));
    fill(c, k.violet, () => path(c, [[0, s * 0.15], [s, s * 0.15], [s / 2, s]]));
  },
  waking: (c, s, k) => {
    fill(c, k["violet-band"], () => c.rect(0, 0, s, s));
    fill(c, k.violet, () => path(c, [[0, s * 0.85], [s, s * 0.85], [s / 2, 0]]));
  },
  "changing mode": (c, s, k) => fill(c, k.violet, () => path(c, [[s / 2, 0], [s, s / 2], [s / 2, s], [0, s / 2]])),
  rebooting: (c, s, k) =>
    stroke(c, k.violet, () => c.arc(s / 2, s / 2, s / 2 - Math.max(1, s * 0.13), 0, 2 * Math.PI), Math.max(2, s * 0.2)),
  faulty: (c, s, k) => {
    fill(c, k.red, () => c.rect(0, 0, s, s));
    cross(c, s, k.panel, Math.max(1.5, s * 0.13));
  },
  unreachable: (c, s, k) => {
    fill(c, k.panel, () => c.rect(0, 0, s, s));
    stroke(c, k.red, () => c.rect(0.75, 0.75, s - 1.5, s - 1.5));
    stroke(c, k.red, () => line(c, [1, s - 1], [s - 1, 1]));
  },
  unknown: (c, s, k) => {
    fill(c, k.panel, () => c.rect(0, 0, s, s));
    c.setLineDash([2, 2]);
    stroke(c, k.muted, () => c.rect(0.75, 0.75, s - 1.5, s - 1.5));
    c.setLineDash([]);
    fill(c, k.muted, () => c.arc(s / 2, s / 2, Math.max(1, s * 0.13), 0, 2 * Math.PI));
  },
};

/** Draws each kind of tile once, then copies it: five thousand tiles are five thousand copies. */
export class Painter {
  constructor(size, scale, palette) {
    [this.size, this.scale, this.palette] = [size, scale, palette];
    this._sprites = new Map();
  }

  draw(context, x, y, state, differs, isStale, hasAlert) {
    const name = `${state}|${differs}|${isStale}|${hasAlert}`;
    if (!this._sprites.has(name)) this._sprites.set(name, this._sprite(state, differs, isStale, hasAlert));
    context.drawImage(this._sprites.get(name), x, y, this.size, this.size);
  }

  _sprite(state, differs, isStale, hasAlert) {
    const sprite = document.createElement("canvas");
    sprite.width = sprite.height = Math.round(this.size * this.scale);
    const context = sprite.getContext("2d");
    context.scale(this.scale, this.scale);
    if (isStale) context.globalAlpha = 0.45;
    if (differs) this._split(context, state, differs);
    else SHAPES[state]?.(context, this.size, this.palette);
    context.globalAlpha = 1;
    if (isStale) this._cut(context);
    if (hasAlert) this._flag(context);
    return sprite;
  }

  // Upper left what it was told or says, lower right what is measured or seen.
  _split(context, state, differs) {
    const [size, palette] = [this.size, this.palette];
    const seen = differs & DIFFERS_FROM_COMMAND ? (state === "asleep" ? "hashing" : "asleep") : state;
    half(context, [[0, 0], [size, 0], [0, size]], () => SHAPES[seen]?.(context, size, palette));
    half(context, [[size, 0], [size, size], [0, size]], () => {
      if (differs & DIFFERS_FROM_COMMAND) SHAPES[state]?.(context, size, palette);
      else fill(context, palette.amber, () => context.rect(0, 0, size, size));
    });
    stroke(context, palette.panel, () => line(context, [0, size], [size, 0]), Math.max(3, size * 0.22));
    stroke(context, palette.amber, () => line(context, [0, size], [size, 0]), Math.max(1.5, size * 0.11));
  }

  _cut(context) {
    const part = this.size * 0.42;
    context.clearRect(0, this.size - part, part, part);
  }

  _flag(context) {
    const [size, part] = [this.size, Math.max(4, this.size * 0.42)];
    fill(context, this.palette.panel, () => path(context, [[size, 0], [size, part + 2], [size - part - 2, 0]]));
    fill(context, this.palette.red, () => path(context, [[size, 0], [size, part], [size - part, 0]]));
  }
}

/** Draw everything; ``fits`` dims what is not looked for. */
export function drawHall(context, machines, layout, view, painter) {
  const { palette } = painter;
  const { size } = layout;
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.font = "12px " + getComputedStyle(document.body).fontFamily;
  context.textBaseline = "middle";
  context.fillStyle = palette.muted;
  for (const label of layout.labels) context.fillText(label.text, 0, label.y, layout.left - 8);
  underlay(context, layout, view, palette);
  for (let index = 0; index < machines.count; index++) {
    context.globalAlpha = view.fits[index] ? 1 : 0.14;
    painter.draw(
      context, layout.x[index], layout.y[index], machines.stateOf(index),
      machines.differs_(index), machines.isStale(index), machines.alerts[index] > 0,
    );
  }
  context.globalAlpha = 1;
  context.strokeStyle = palette.ink;
  context.lineWidth = 1.5;
  if (view.cursor !== null) {
    context.setLineDash([3, 2]);
    context.strokeRect(layout.x[view.cursor] - 2, layout.y[view.cursor] - 2, size + 4, size + 4);
    context.setLineDash([]);
  }
  if (view.drag) {
    const [[x0, y0], [x1, y1]] = view.drag;
    context.lineWidth = 1;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
}

// What is selected lies on ink; neighbours run together, as one piece of the hall.
function underlay(context, layout, view, palette) {
  context.fillStyle = palette.ink;
  const around = Math.min(2, layout.pitch - layout.size);
  for (const key of view.selected) {
    const index = view.indexOf.get(key);
    if (index === undefined) continue;
    context.globalAlpha = view.fits[index] ? 0.85 : 0.3;
    context.fillRect(layout.x[index] - around, layout.y[index] - around, layout.size + 2 * around, layout.size + 2 * around);
  }
  context.globalAlpha = 1;
}

function fill(context, colour, shape) {
  context.fillStyle = colour;
  context.beginPath();
  shape();
  context.fill();
}

function stroke(context, colour, shape, width = 1.5) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  shape();
  context.stroke();
}

function path(context, points) {
  points.forEach(([x, y], number) => (number ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
}

function line(context, [x0, y0], [x1, y1]) {
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
}

function cross(context, size, colour, width) {
  const [low, high] = [size * 0.25, size * 0.75];
  stroke(context, colour, () => (line(context, [low, low], [high, high]), line(context, [low, high], [high, low])), width);
}

function half(context, points, shape) {
  context.save();
  context.beginPath();
  path(context, points);
  context.clip();
  shape();
  context.restore();
}
