// Small charts as SVG, drawn with attributes only: the page's policy allows no inline style.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 190, LEFT = 64, RIGHT = 10, TOP = 14, BOTTOM = 24;

export function seconds(value) {
  if (value === null || value === undefined) return "-";
  if (value < 10) return `${+value.toFixed(value < 1 ? 2 : 1)} s`;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => value >= size);
  const [size, name] = units[first];
  const whole = Math.floor(value / size);
  if (first === 3) return `${whole} s`;
  const [next, small] = units[first + 1];
  const rest = Math.floor((value % size) / next);
  return rest ? `${whole} ${name} ${rest} ${small}` : `${whole} ${name}`;
}

function draw(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function nice(most) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400];
  const step = steps.find((one) => most / one <= 4) ?? 86400 * Math.ceil(most / 86400 / 4);
  return { step, top: step * Math.max(1, Math.ceil(most / step)) };
}

// The greatest age of answers in each interval, the bound the definition sets, and a mark at each promotion; as wide as
// its place, so that its words are as large as those beside it.
export function freshness(points, bound, width) {
  const WIDTH = Math.max(300, width);
  const times = points.map((point) => Date.parse(point.at));
  const start = times[0], span = Math.max(1, times[times.length - 1] - start);
  const greatest = Math.max(...points.map((point) => point.age_s));
  const shown = bound !== null && bound < 5 * greatest ? Math.max(bound, greatest) : greatest;
  const { step, top } = nice(Math.max(shown, 0.1));
  const x = (time) => LEFT + (WIDTH - LEFT - RIGHT) * (time - start) / span;
  const y = (age) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(age, top) / top);
  const label = `Age of answers from ${clock(times[0])} to ${clock(times[times.length - 1])}, at most ${seconds(greatest)}`;
  const chart = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  for (let age = 0; age <= top + step / 2; age += step) {
    chart.append(
      draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(age), y2: y(age), class: "axis" }),
      draw("text", { x: LEFT - 6, y: y(age) + 4, "text-anchor": "end" }, seconds(age).replace(/^0 s$/, "0")),
    );
  }
  chart.append(
    draw("text", { x: LEFT, y: HEIGHT - 6 }, clock(times[0])),
    draw("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, clock(times[times.length - 1])),
  );
  const line = points.map((point, i) => `${x(times[i]).toFixed(1)},${y(point.age_s).toFixed(1)}`).join(" ");
  const floor = y(0).toFixed(1);
  chart.append(
    draw("polygon", { class: "age-area", points: `${x(times[0])},${floor} ${line} ${x(times[times.length - 1])},${floor}` }),
    draw("polyline", { class: "age-line", points: line }),
  );
  points.forEach((point, i) => {
    if (i && point.generation !== points[i - 1].generation) {
      const at = x(times[i]);
      chart.append(
        draw("line", { x1: at, x2: at, y1: TOP, y2: floor, class: "flip" }),
        draw("text", { x: Math.min(at + 4, WIDTH - 60), y: TOP + 8 }, `g ${point.generation}`),
      );
    }
  });
  if (bound !== null && bound <= top) {
    chart.append(
      draw("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(bound), y2: y(bound), class: "bound" }),
      draw("text", { x: WIDTH - RIGHT, y: y(bound) - 4, "text-anchor": "end" }, `max_age ${seconds(bound)}`),
    );
  }
  return chart;
}

function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}
