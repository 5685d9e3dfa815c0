"use strict";
// Curves by uPlot. Their data come with the page, and live verdicts are added to those that follow a line.
(() => {
  const MOST_POINTS = 1200;
  const charts = [];

  function token(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function axis(extra) {
    return {
      stroke: token("--muted"), grid: { stroke: token("--rule"), width: 1 }, ticks: { stroke: token("--rule"), width: 1 },
      font: "12px system-ui, sans-serif", ...extra,
    };
  }

  // data: {at: seconds of the epoch, score, threshold, share}: lists of one length, null where there is nothing.
  function draw(holder) {
    const given = JSON.parse(holder.dataset.curve);
    const names = given.names;
    const zone = document.body.dataset.zone;
    const series = [
      { label: names.time, value: (_, mark) => (mark === null ? "–" : clock(mark, zone, 1)) },
      { value: shown, label: names.score, stroke: token("--chart-score"), width: 2, points: { show: given.at.length < 80, size: 5 }, spanGaps: true },
      { value: shown, label: names.threshold, stroke: token("--chart-threshold"), width: 2, dash: [6, 4], spanGaps: true, points: { show: false } },
    ];
    const axes = [
      axis({ space: 70, size: 30, values: (_, marks, _1, _2, step) => marks.map((mark) => clock(mark, zone, step)) }),
      axis({ size: 46, values: (_, marks) => marks.map((mark) => mark.toFixed(2)) }),
    ];
    const rows = [given.at, given.score, given.threshold];
    const scales = { x: { time: true }, y: { range: (_, low, high) => around(low, high) } };
    if (given.share) {
      series.push({ value: (_, share) => (share === null ? "–" : `${Math.round(share)} %`), label: names.share, stroke: token("--error"), fill: `${token("--error")}44`, scale: "%", width: 1, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) });
      axes.push(axis({ side: 1, scale: "%", size: 56, grid: { show: false }, values: (_, marks) => marks.map((mark) => `${Math.round(mark)} %`) }));
      scales["%"] = { range: [0, 100] };
      rows.push(given.share);
    }
    const options = {
      width: Math.max(120, holder.clientWidth), height: heightOf(holder), series, axes, scales,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
      legend: { show: holder.classList.contains("tall") }, cursor: { show: holder.classList.contains("tall") },
      padding: [10, given.share ? 0 : 8, 0, 0],
    };
    holder.replaceChildren();
    const chart = new uPlot(options, rows, holder);
    charts.push({ holder, chart, rows, given });
    return chart;
  }

  function shown(_, value) {
    return value === null || value === undefined ? "–" : value.toFixed(3);
  }

  // The holder's height is the style sheet's; below a tall chart there is room for its legend.
  function heightOf(holder) {
    return holder.classList.contains("tall") ? 240 : 116;
  }

  function clock(mark, zone, step) {
    const shape = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: zone };
    if (step < 60) shape.second = "2-digit";
    if (step >= 86400) Object.assign(shape, { day: "2-digit", month: "2-digit", hour: undefined, minute: undefined });
    return new Intl.DateTimeFormat(document.documentElement.lang, shape).format(mark * 1000);
  }

  function around(low, high) {
    if (low === null || high === null) return [0, 1];
    const room = Math.max(0.02, (high - low) * 0.15);
    return [Math.max(0, low - room), Math.min(1, high + room)];
  }

  function follow(entry, root) {
    const window_s = entry.given.window_s;
    if (!root || !window_s) return;
    root.addEventListener("verdict", (event) => {
      const verdict = event.detail;
      const now = Date.parse(verdict.issued_at) / 1000;
      entry.rows[0].push(now);
      entry.rows[1].push(verdict.score ?? null);
      entry.rows[2].push(verdict.threshold);
      while (entry.rows[0].length > MOST_POINTS || entry.rows[0][0] < now - window_s) entry.rows.forEach((row) => row.shift());
      entry.stale = true;
    });
  }

  function drawAll(root) {
    for (const holder of root.querySelectorAll("[data-curve]")) {
      draw(holder);
      follow(charts.at(-1), holder.closest("[data-line]"));
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    drawAll(document);
    setInterval(() => {
      for (const entry of charts) {
        if (!entry.stale || document.hidden) continue;
        entry.stale = false;
        entry.chart.setData(entry.rows);
      }
    }, 500);
    const resized = new ResizeObserver((changes) => {
      for (const change of changes) {
        const entry = charts.find((one) => one.holder === change.target);
        if (entry) entry.chart.setSize({ width: Math.max(120, change.contentRect.width), height: heightOf(change.target) });
      }
    });
    for (const entry of charts) resized.observe(entry.holder);
  });
})();
