// What the charts of energy need in the browser: figures of the axes, the tip, the strips of the plan.
(() => {
  const plain = (value) =>
    value === null || value === undefined ? "–" : value.toLocaleString("en-US", { maximumFractionDigits: Math.abs(value) < 100 ? 1 : 0 }).replace("-", "−");
  const watts = (value) => {
    const size = Math.abs(value);
    const [scale, unit] = size >= 1e6 ? [1e6, "MW"] : size >= 1e3 ? [1e3, "kW"] : [1, "W"];
    return `${Number((value / scale).toPrecision(4)).toLocaleString("en-US").replace("-", "−")} ${unit}`;
  };
  const row = (name, text) => `<div class="tip-row"><span>${name}</span><b>${text}</b></div>`;
  // A value holds from its corner to the next; a gap is a corner without one.
  const inForce = (points, at) => {
    let value = null;
    for (const point of points) {
      if (point[0] > at) break;
      value = point[1];
    }
    return value;
  };
  // ECharts hands over only series that have a corner where the pointer is: the chart itself knows what is in force there.
  const chartUnderPointer = () =>
    [...document.querySelectorAll(".energy-chart [id]:hover")].map((one) => window.getElement(one)?.chart).find(Boolean);
  // The name of a series ends with its unit: "Price, EUR/MWh".
  const energyTip = (items) => {
    const at = items[0]?.axisValue;
    const series = chartUnderPointer()?.getOption().series ?? [];
    const rows = [];
    for (const { name: full, data } of series) {
      const [name, unit] = full.split(/, (?=[^,]*$)/);
      const value = unit ? inForce(data, at) : null;
      if (value !== null && value !== undefined) rows.push(row(name, unit === "W" ? watts(value) : `${plain(value)} ${unit}`));
    }
    const nothing = '<div class="tip-row"><span>nothing is known of this time</span></div>';
    return `<div class="tip-head">${window.hw.localTime(at / 1000)}</div>${rows.join("") || nothing}`;
  };
  // A strip stands on the lower edge of its row and is as high as the part of the group that runs.
  const strip = (_, api) => {
    const [left, middle] = api.coord([api.value(0), api.value(2)]);
    const [right] = api.coord([api.value(1), api.value(2)]);
    const band = api.size([0, 1])[1];
    const height = api.value(3) * band * 0.78;
    return {
      type: "rect",
      shape: { x: left, y: middle + band / 2 - height, width: Math.max(right - left, 0.5), height },
      style: { fill: "var(--violet)", opacity: 0.8 },
    };
  };
  Object.assign(window.hw, { plain, watts, energyTip, strip });
})();
