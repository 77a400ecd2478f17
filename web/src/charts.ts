// Latency and throughput, by uPlot, on the timeline's own stretch of time.

import uPlot from "uplot";
import { FAILED, OK, UNKNOWN, type Model } from "./model";
import { faded, hatch, onTheme, palette } from "./theme";
import { lowerBound, type Weighed } from "./scan";
import { callsInView } from "./counts";
import { clock, count, duration, ticks } from "./time";
import { h } from "./dom";
import type { View } from "./view";

type Margins = () => { left: number; right: number };

export interface Charts {
  element: HTMLElement;
  attach(): void;
  draw(): void;
}

export function charts(m: Model, view: View, margins: Margins): Charts {
  const latency = h(
    "figure",
    { class: "chart" },
    h(
      "figcaption",
      {},
      h("strong", {}, "Latency"),
      " of each call when it was answered or refused; p50, p90, p99 of answers. Log scale.",
    ),
  );
  const throughput = h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, h("strong", {}, "Calls a second"), " by what became of them."),
  );
  const said = h("p", { class: "status" });
  const element = h("div", { class: "charts" }, latency, throughput, said);
  let plots: uPlot[] = [];
  let drawn = 0;

  const draw = () => {
    const began = performance.now();
    const width = element.clientWidth;
    const edges = m.latencies.edges(view.from, view.to, bins(m, view, width));
    const data = [latencies(m, edges), rates(m, edges)];
    plots.forEach((plot, i) => {
      if (plot.width !== width) plot.setSize({ width, height: plot.height });
      plot.batch(() => {
        plot.setData(data[i], false);
        plot.setScale("x", { min: view.from, max: view.to });
      });
    });
    said.textContent = callsInView(m, view.from, view.to + 1);
    element.dataset.from = String(Math.round(view.from));
    element.dataset.to = String(Math.round(view.to));
    element.dataset.took = (performance.now() - began).toFixed(1);
    element.dataset.drawn = String(++drawn);
  };
  const make = () => {
    for (const plot of plots) plot.destroy();
    const width = element.clientWidth;
    plots = [
      new uPlot(latencyOptions(m, view, margins, width), [[], [], [], []], latency),
      new uPlot(rateOptions(m, view, margins, width), [[], [], [], []], throughput),
    ];
    draw();
  };
  let waiting = false;
  const schedule = () => {
    if (waiting || !plots.length) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
  view.listen(schedule);
  onTheme(() => plots.length && make());
  return {
    element,
    draw,
    attach: () => {
      make();
      new ResizeObserver(schedule).observe(element);
    },
  };
}

/** So many that a bin has some calls to tell of, and some pixels to be seen. */
function bins(m: Model, view: View, width: number): number {
  const { at } = m.latencies;
  const calls = lowerBound(at, view.to) - lowerBound(at, view.from);
  return Math.max(8, Math.min(Math.floor(width / 9), Math.floor(calls / 8)));
}

function latencies(m: Model, edges: number[]): uPlot.AlignedData {
  const { p50, p90, p99 } = m.latencies.percentiles(edges);
  return [edges.slice(0, -1), p50, p90, p99];
}

function rates(m: Model, edges: number[]): uPlot.AlignedData {
  const a_second = (done: Weighed) =>
    edges
      .slice(0, -1)
      .map((from, i) => (done.between(from, edges[i + 1]) * 1e6) / (edges[i + 1] - from));
  // Nothing failed: no line along the ground.
  const some = (values: number[]) => (values.some((v) => v > 0) ? values : values.map(() => null));
  return [
    edges.slice(0, -1),
    a_second(m.done[OK]),
    some(a_second(m.done[FAILED])),
    some(a_second(m.done[UNKNOWN])),
  ];
}

function options(
  m: Model,
  view: View,
  margins: Margins,
  width: number,
  height: number,
  values: (us: number) => string,
): uPlot.Options {
  const p = palette();
  const { left, right } = margins();
  const axis = {
    stroke: p.soft,
    font: `11px ${p.font}`,
    grid: { stroke: p.faint, width: 1 },
    ticks: { stroke: p.line, width: 1, size: 4 },
  };
  return {
    width,
    height,
    series: [],
    padding: [8, right, 0, 0],
    legend: { live: true },
    cursor: {
      y: false,
      sync: { key: "run" },
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
    },
    scales: { x: { time: false, auto: false } },
    axes: [
      {
        ...axis,
        size: 26,
        splits: (_, __, min, max) => ticks(min, max, (width - left - right) / 100).at,
        values: (_, at) => at.map((t) => clock(t, at.length > 1 ? at[1] - at[0] : view.span)),
      },
      { ...axis, size: left, values: (_, at) => at.map((v) => (v === null ? "" : values(v))) },
    ],
    hooks: {
      drawClear: [(u) => bands(u, m)],
      setSelect: [
        (u) => {
          if (u.select.width < 4) return;
          const from = u.posToVal(u.select.left, "x");
          const to = u.posToVal(u.select.left + u.select.width, "x");
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          view.show(from, to);
        },
      ],
    },
  };
}

/** Faults and times without a write, behind everything. */
function bands(u: uPlot, m: Model): void {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const p = palette();
  const draw = (from: number, to: number, style: string | CanvasPattern, alpha: number) => {
    const x0 = Math.max(left, u.valToPos(from, "x", true));
    const x1 = Math.min(left + width, u.valToPos(to, "x", true));
    if (x1 <= x0) return;
    ctx.globalAlpha = alpha;
    ctx.fillStyle = style;
    ctx.fillRect(x0, top, Math.max(1, x1 - x0), height);
    ctx.globalAlpha = 1;
  };
  for (const band of m.story.bands) {
    draw(band.from, band.to, p.fault, 0.08);
    for (const at of [band.from, band.to]) edge(u, at, p.fault);
  }
  for (const outage of m.story.unavailable)
    draw(outage.from, outage.to, hatch(ctx, p.violated, "-", 5), 0.35);
}

/** When a fault began or ended, as on the timeline. */
function edge(u: uPlot, at: number, colour: string): void {
  const { ctx, bbox } = u;
  const x = Math.round(u.valToPos(at, "x", true)) + 0.5;
  if (x < bbox.left || x > bbox.left + bbox.width) return;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.globalAlpha = 0.55;
  ctx.lineWidth = 1;
  ctx.setLineDash([3, 4]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}

function latencyOptions(m: Model, view: View, margins: Margins, width: number): uPlot.Options {
  const p = palette();
  const base = options(m, view, margins, width, 240, duration);
  const value = (_: uPlot, v: number | null) => (v === null || v === undefined ? "–" : duration(v));
  const paths = uPlot.paths.stepped?.({ align: 1 });
  const line = (label: string, stroke: string, dash: number[], w: number): uPlot.Series => ({
    label,
    stroke,
    dash,
    width: w,
    value,
    paths,
    points: { show: false },
  });
  // Of all that is drawn, failed calls as well; and the same over the whole run, so that zooming
  // does not move the ground.
  const range = m.cloud.range();
  return {
    ...base,
    scales: { ...base.scales, y: { distr: 3, range } },
    axes: [base.axes?.[0] ?? {}, { ...base.axes?.[1], splits: () => decades(range) }],
    hooks: { ...base.hooks, drawAxes: [(u) => scatter(u, m, view)] },
    series: [
      { label: "at", value: (_, v) => (v === null ? "–" : clock(v, view.span / 100)) },
      line("p50", p.p50, [], 2),
      line("p90", p.p90, [6, 3], 1.5),
      line("p99", p.p99, [2, 3], 1.5),
    ],
  };
}

function decades([from, to]: [number, number]): number[] {
  const out: number[] = [];
  for (let at = from; at <= to * 1.001; at *= 10) out.push(at);
  return out;
}

const POINT = 2.4;

function scatter(u: uPlot, m: Model, view: View): void {
  const { ctx } = u;
  const p = palette();
  const { left, top, width, height } = u.bbox;
  const scale = uPlot.pxRatio;
  const points = m.cloud.points(view.from, view.to, (view.span / width) * scale);
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  // Few are drawn large enough to be seen.
  const size = (points.last - points.first < 400 ? 4 : POINT) * scale;
  const y0 = u.scales.y.min ?? 1;
  const y1 = u.scales.y.max ?? 10;
  const high = height / Math.log(y1 / y0);
  const wide = width / view.span;
  const colours = [p.ok, p.failed, p.unknown];
  for (const kind of [OK, FAILED, UNKNOWN]) {
    ctx.fillStyle = ctx.strokeStyle = colours[kind];
    ctx.globalAlpha = kind === OK ? 0.45 : 0.9;
    ctx.lineWidth = scale;
    for (let i = points.first; i < points.last; i++) {
      if (points.kind[i] !== kind) continue;
      const x = left + (points.at[i] - view.from) * wide;
      const y = top + height - Math.log(points.took[i] / y0) * high;
      if (kind === OK) ctx.fillRect(x - size / 2, y - size / 2, size, size);
      else if (kind === FAILED) ctx.strokeRect(x - size, y - size, size * 2, size * 2);
      else ctx.fillRect(x - scale / 2, y - size * 1.6, scale, size * 3.2);
    }
  }
  ctx.restore();
  u.root.dataset.points = String(points.last - points.first);
}

function rateOptions(m: Model, view: View, margins: Margins, width: number): uPlot.Options {
  const p = palette();
  const base = options(m, view, margins, width, 150, (v) => count(v));
  const value = (_: uPlot, v: number | null) => (v === null || v === undefined ? "–" : count(v));
  const paths = uPlot.paths.stepped?.({ align: 1 });
  const line = (label: string, stroke: string, dash: number[]): uPlot.Series => ({
    label,
    stroke,
    dash,
    width: 1.5,
    value,
    paths,
    points: { show: false },
  });
  return {
    ...base,
    scales: { ...base.scales, y: { range: (_, __, max) => [0, Math.max(1, (max ?? 1) * 1.1)] } },
    series: [
      { label: "at", value: (_, v) => (v === null ? "–" : clock(v, view.span / 100)) },
      { ...line("answered", p.ok, []), fill: faded(p.ok, 0.13) },
      line("failed", p.failed, [6, 3]),
      line("unknown", p.unknown, [2, 3]),
    ],
  };
}
