"""The look of report.html: its style sheet, and the few lines of script that draw the plots in its colours.

The series colours are a palette that stays apart for the common colour-vision deficiencies, in one shade for light
backgrounds and one for dark; beyond eight series the line style changes.
"""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1b2330; --muted: #667085; --line: #dfe3ea;
  --good: #157f3c; --bad: #b42318; --late: #9a6700;
  --series-0: #7a869a; --series-1: #c77700; --series-2: #0b6bcb; --series-3: #12805c; --series-4: #a0439c;
  --series-5: #b3362b; --series-6: #0e8a9a; --series-7: #6b5bd2; }
@media (prefers-color-scheme: dark) { :root { --page: #0f1319; --card: #171d26; --ink: #e6eaf1; --muted: #97a3b6;
  --line: #2a3240; --good: #4cc27a; --bad: #ff7b6e; --late: #e3b341;
  --series-0: #9aa7bb; --series-1: #f0a63c; --series-2: #5aa9ff; --series-3: #45c495; --series-4: #dd86d8;
  --series-5: #ff8a7d; --series-6: #4cc7d6; --series-7: #a79bff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 17px; margin: 0 0 10px; }
header { display: flex; justify-content: space-between; align-items: center; padding: 18px 22px;
  background: var(--card); border: 1px solid var(--line); border-left: 6px solid var(--verdict); border-radius: 10px; }
header p { margin: 2px 0 0; color: var(--muted); }
.pass { --verdict: var(--good); } .fail { --verdict: var(--bad); } .timeout { --verdict: var(--late); }
.badge { font-size: 20px; letter-spacing: .06em; color: var(--verdict); }
.failures { margin: 14px 0 0; padding: 12px 22px 12px 38px; background: var(--card); color: var(--bad);
  border: 1px solid var(--line); border-radius: 10px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 16px 0; }
.tiles div, section > .scroll, figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tiles div { padding: 14px 16px; } .tiles b { display: block; font-size: 24px; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--muted); font-size: 13px; }
.plots { display: grid; gap: 12px; margin: 0 0 24px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
figure { margin: 0; height: 340px; min-width: 0; overflow: hidden; } #pods { grid-column: 1 / -1; }
section { margin-bottom: 24px; } .scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 7px 16px; border-top: 1px solid var(--line); vertical-align: top; }
thead th { border-top: 0; color: var(--muted); font-weight: 600; font-size: 13px; }
td:first-child { white-space: nowrap; } td:last-child { overflow-wrap: anywhere; }
"""

SCRIPT = """
(() => {
  const plots = JSON.parse(document.getElementById("series").textContent);
  const dashes = ["solid", "dot", "dash", "dashdot"];
  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const color = name => style.getPropertyValue("--" + name).trim();
    for (const [id, plot] of Object.entries(plots)) {
      const axis = text => ({title: {text, font: {size: 12}}, gridcolor: color("line"), zerolinecolor: color("line"),
                             rangemode: "tozero", automargin: true});
      const traces = plot.traces.map(trace => {
        const paint = color("series-" + trace.color % 8), dash = dashes[Math.floor(trace.color / 8) % 4];
        return {...trace, line: {color: paint, width: 2, dash}, marker: {color: paint}};
      });
      const layout = {
        title: {text: plot.title, x: 0.02, xanchor: "left", font: {size: 15}},
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: color("ink"), family: "system-ui"},
        margin: {l: 56, r: 18, t: 48, b: 44}, hovermode: "x unified", hoverlabel: {bgcolor: color("card")},
        bargap: 0.15, xaxis: axis(plot.x), yaxis: axis(plot.y), showlegend: plot.traces.length > 1,
        shapes: plot.marks.map(mark => ({type: "line", x0: mark.x, x1: mark.x, y0: 0, y1: 1, yref: "paper",
                                         line: {color: color("muted"), width: 1, dash: "dot"}})),
        annotations: plot.marks.map((mark, i) => ({
          x: mark.x, y: 0.06 + 0.1 * i, yref: "paper", text: mark.text, showarrow: false, xanchor: "left",
          font: {size: 11, color: color("muted")}})),
      };
      Plotly.react(id, traces, layout, {responsive: true, displayModeBar: "hover", displaylogo: false});
    }
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
"""
