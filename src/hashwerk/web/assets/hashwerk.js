// What the pages do by themselves in the browser: theme, copying, local time, chart labels. Nothing is fetched.
(() => {
  const root = document.documentElement;
  const THEMES = ["system", "light", "dark"];
  const stored = () => {
    try {
      return localStorage.getItem("hashwerk-theme");
    } catch {
      return null; // storage may be forbidden; the theme then follows the system
    }
  };
  const setTheme = (theme) => {
    root.dataset.theme = theme;
    try {
      localStorage.setItem("hashwerk-theme", theme);
    } catch {
      // not kept over a reload, which is all that is lost
    }
  };
  root.dataset.theme = THEMES.includes(stored()) ? stored() : "system";

  const copy = async (text) => {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const area = Object.assign(document.createElement("textarea"), { value: text });
    area.style.cssText = "position:fixed;opacity:0";
    document.body.append(area);
    area.select();
    document.execCommand("copy"); // the only way on a page that came over plain HTTP
    area.remove();
  };
  document.addEventListener("click", async (event) => {
    const target = event.target.closest("[data-theme-toggle], [data-copy]");
    if (!target) return;
    if ("themeToggle" in target.dataset) {
      setTheme(THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length]);
      return;
    }
    await copy(target.dataset.copy);
    target.dataset.copied = "";
    setTimeout(() => delete target.dataset.copied, 1500);
  });

  const pad = (number) => String(number).padStart(2, "0");
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  const localTime = (epoch) => {
    const at = new Date(epoch * 1000);
    const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
    return at.toDateString() === new Date().toDateString() ? clock : `${day.format(at)} ${clock}`;
  };

  const PREFIXES = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"];
  const prefixed = (value, unit) => {
    if (value === null || value === undefined) return "–";
    if (value === 0) return "0";
    const power = Math.min(Math.max(Math.floor(Math.log10(Math.abs(value)) / 3), 0), PREFIXES.length - 1);
    return `${Number((value / 1000 ** power).toPrecision(3))} ${PREFIXES[power]}${unit}`.trim();
  };
  const hashrate = (value) => prefixed(value, "H/s");
  const count = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en-US"));
  const row = (name, text) => `<div class="tip-row"><span>${name}</span><b>${text}</b></div>`;
  const pick = (items, name) => items.find((item) => item.seriesName === name)?.value?.[1] ?? null;
  const head = (items) => `<div class="tip-head">${localTime(items[0].value[0] / 1000)}</div>`;
  const rateTip = (items) => {
    const [low, width] = [pick(items, "low"), pick(items, "95 % band")];
    const band = low === null || width === null ? "–" : `${hashrate(low)} – ${hashrate(low + width)}`;
    return head(items) + row("hash rate", hashrate(pick(items, "hash rate"))) + row("95 % interval", band);
  };
  const sharesTip = (items) =>
    head(items) +
    row("accepted", count(pick(items, "accepted") ?? 0)) +
    row("rejected", count(pick(items, "rejected") ?? 0));

  window.hw = { localTime, hashrate, count, rateTip, sharesTip };

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  root.style.setProperty("--zone", JSON.stringify(`Times are local: ${zone}`));
})();
