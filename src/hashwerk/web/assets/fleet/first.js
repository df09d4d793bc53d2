// The first picture of the hall: drawn into the page's plain HTML, without waiting for the framework that carries the page.
import { hall } from "/assets/fleet/hall.js";
import { Painter, colours, drawHall, hallHeight, layOut } from "/assets/fleet/tiles.js";
import { Machines } from "/assets/fleet/columns.js";

const parsed = () =>
  document.readyState === "loading"
    ? new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true }))
    : Promise.resolve();

/** Wait for the place of the picture: it stands in the HTML, above the scripts that take long. */
const place = async () => {
  if (!document.querySelector("#first canvas")) await parsed();
  return document.querySelector("#first canvas");
};

const [columns, canvas] = await Promise.all([hall.first, place()]);
if (canvas?.isConnected && columns && !(columns instanceof Error) && columns.key.length) {
  const machines = new Machines(columns);
  const box = canvas.parentElement;
  const width = box.clientWidth;
  const layout = layOut(machines.bands(), machines.count, width, hallHeight());
  const scale = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(layout.height * scale) });
  Object.assign(canvas.style, { width: `${width}px`, height: `${layout.height}px` });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  drawHall(context, machines, layout, {
    fits: machines.fits(hall.filter), selected: new Set(), indexOf: new Map(), drag: null, cursor: null,
  }, new Painter(layout.size, scale, colours()));
  box.closest(".hall-map").dataset.first = machines.count;
}
