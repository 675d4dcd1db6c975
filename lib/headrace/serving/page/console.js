// The console: asks this server every few seconds how things stand, and draws what it says. It changes nothing.

import { freshness, seconds } from "/console/charts.js";

const EVERY_MS = 5000;
const KEY = "headrace.token";
const $ = (id) => document.getElementById(id);
const REPORTS_EACH = 6; // rounds
const state = { definition: null, timer: null, round: 0, told: null, asked: 0 };

// ---- asking ------------------------------------------------------------------------------------
class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(path) {
  const token = sessionStorage.getItem(KEY);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(path, { headers, cache: "no-store", credentials: "omit" });
  } catch {
    throw new Refused(0, "the server does not answer");
  }
  if (response.ok) return response.json();
  const told = await response.json().catch(() => ({}));
  throw new Refused(response.status, told.detail ?? response.statusText);
}

const path = (...parts) => "/v1/" + parts.map(encodeURIComponent).join("/");

// ---- drawing -----------------------------------------------------------------------------------
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const number = (value) => (value === null || value === undefined ? "-" : value.toLocaleString("en"));
const when = (iso) => (iso ? new Date(iso).toISOString().slice(0, 19).replace("T", " ") + " UTC" : "-");
const pill = (text, kind = "") => el("span", { class: `pill ${kind}` }, text);

function shown(value) {
  if (value === null || value === undefined) return "-";
  if (typeof value === "number") return Number.isInteger(value) ? number(value) : String(+value.toPrecision(6));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function health(line) {
  if (line.generation === null) return { kind: "warn", text: "not promoted" };
  return line.stale ? { kind: "bad", text: "stale" } : { kind: "good", text: "serving" };
}

function table(heads, rows, label) {
  const head = heads.map(([text, kind]) => el("th", { scope: "col", class: kind }, text));
  const body = rows.map((cells) => el("tr", {}, cells.map((cell, i) => {
    const content = cell instanceof Node ? cell : shown(cell);
    return i ? el("td", { class: heads[i][1] }, content) : el("th", { scope: "row", class: heads[i][1] }, content);
  })));
  return el("table", { "aria-label": label }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body));
}

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.flatMap(([name, value]) => [
    el("dt", {}, name), el("dd", {}, value instanceof Node ? value : shown(value)),
  ]));
}

function bars(pairs, text) {
  const most = Math.max(...pairs.map(([, value]) => value), 1e-9);
  return el("div", { class: "bars" }, pairs.flatMap(([name, value]) => {
    const bar = el("div");
    bar.style.width = `${Math.max(0.5, 100 * value / most)}%`;
    return [el("span", {}, name), el("span", { class: "track" }, bar), el("span", { class: "n" }, text(value))];
  }));
}

// ---- definitions -------------------------------------------------------------------------------
function drawDefinitions(listed) {
  $("definitions").replaceChildren(...listed.definitions.map((line) => {
    const how = health(line);
    const age = line.age_s === null ? how.text : `${seconds(line.age_s)} old${line.lag ? `, ${number(line.lag)} behind` : ""}`;
    const button = el("button", { type: "button", "aria-current": line.definition === state.definition ? "true" : "false" },
      el("span", { class: `dot ${how.kind}`, "aria-hidden": "true" }),
      el("span", { class: "name" }, line.definition),
      el("span", { class: "faint" }, line.generation === null ? "" : `g ${line.generation}`),
      el("span", { class: "age" }, age),
      how.kind === "good" ? null : el("span", { class: "skip" }, how.text));
    button.addEventListener("click", () => choose(line.definition));
    return el("li", {}, button);
  }));
  $("server").textContent = `headrace ${listed.server.version} · server time ${when(listed.server.now)}`;
}

function choose(definition) {
  if (definition !== state.definition) {
    state.definition = definition;
    $("lookup").replaceChildren();
    $("entity").value = "";
    history.replaceState(null, "", `#${encodeURIComponent(definition)}`);
    refresh(true);
  }
}

function tile(name, value, note) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value), note ? el("dd", { class: "note" }, note) : null);
}

function drawDetail(detail) {
  const how = health(detail);
  const made = [detail.entity, detail.learner, detail.stream && `stream ${detail.stream}`, detail.clock && `clock ${detail.clock}`];
  $("head").replaceChildren(
    el("h2", {}, detail.definition, pill(how.text, how.kind)),
    el("p", { class: "faint" }, made.filter(Boolean).join(" · ")),
    el("p", { class: "faint" }, detail.features.length ? `features ${detail.features.join(", ")}` : ""));
  const champion = detail.rows.find((row) => row.alias === "champion");
  const stream = champion?.stream;
  $("tiles").replaceChildren(
    tile("champion", detail.generation === null ? "none" : `g ${detail.generation}`, champion && `of ${number(champion.events)} positions`),
    ...(detail.challenger ? [tile("challenger", `g ${detail.challenger}`, shadowed(detail.shadow))] : []),
    tile("age of answers", seconds(detail.age_s), detail.max_age_s === null ? "no max_age" : `max_age ${seconds(detail.max_age_s)}`),
    tile("lag", detail.lag === null ? "-" : number(detail.lag), detail.lag === null ? "no stream was heard" : "records not counted"),
    tile("counted of the stream", stream ? number(stream.counted) : "-", stream ? `by ${stream.owner.split(":")[0]}` : "no driver yet"),
    tile("generations", number(detail.generations), `newest g ${detail.newest}`));
  $("entity-label").textContent = detail.entity ?? "Entity";
  drawFreshness(detail);
  drawLayers(detail.observed);
  drawGenerations(detail.rows);
  drawPositions(detail);
}

function shadowed(shadow) {
  return shadow ? `differs in ${(100 * shadow.share).toFixed(1)} % of ${number(shadow.compared)} scored records` : "";
}

function drawFreshness(detail) {
  const { points, since, every_s: every } = detail.observed;
  const note = every
    ? `How old answers were, as this server saw it since ${when(since)}, a look every ${seconds(every)}.`
    : "This server keeps no series: serve.watch_s is 0.";
  $("freshness-note").textContent = note;
  $("freshness").replaceChildren(points.length > 1 ? freshness(points, detail.max_age_s, $("freshness").clientWidth)
    : el("p", { class: "empty" }, every ? "The first looks are being taken." : ""));
}

function drawLayers(observed) {
  const { batch, speed, missing } = observed.answers;
  const answered = batch + speed;
  $("layers-note").textContent = `Answers this server gave since ${when(observed.since)}.`;
  if (!answered && !missing) {
    $("layers").replaceChildren(el("p", { class: "empty" }, "None yet."));
    return;
  }
  const share = (n) => (answered ? `${(100 * n / answered).toFixed(1)} %` : "-");
  const parts = [["batch", batch], ["speed", speed]].map(([name, n]) => {
    const part = el("div", { class: name });
    part.style.width = answered ? `${100 * n / answered}%` : "0";
    return part;
  });
  const line = (name, n, told) => [el("i", { class: name }), el("span", {}, told), el("span", { class: "n" }, number(n)), el("span", { class: "n faint" }, name === "missing" ? "" : share(n))];
  $("layers").replaceChildren(
    el("div", { class: "shares", role: "img", "aria-label": `batch ${share(batch)}, speed ${share(speed)}` }, parts),
    el("div", { class: "key" }, line("batch", batch, "batch layer"), line("speed", speed, "speed layer"), line("missing", missing, "no answer")));
}

const ALIAS = { champion: "accent", challenger: "good", skipped: "warn" };
const STATUS = { sealed: "good", publishing: "warn", abandoned: "bad", closed: "" };

function drawGenerations(rows) {
  const heads = [["generation", ""], ["alias", ""], ["status", ""], ["base", "n"], ["items written", "n"], ["positions", "n"], ["as of, UTC", "keep"], ["gate", "told"], ["stream", ""]];
  $("generations").replaceChildren(table(heads, rows.map((row) => [
    `g ${row.generation}`,
    row.alias ? pill(row.alias, ALIAS[row.alias] ?? "") : "",
    pill(row.status, STATUS[row.status]),
    row.base === null ? "full" : `g ${row.base}`,
    row.items,
    row.events,
    when(row.as_of).slice(0, 16),
    row.gate ? el("span", { class: row.gate.passes ? "" : "bad-text" }, row.gate.text) : "none",
    row.stream ? `${number(row.stream.counted)} counted${row.stream.lag === null ? "" : `, ${number(row.stream.lag)} behind`}, ${seconds(row.stream.age_s)} old` : "-",
  ]), "Generations, newest first"));
}

const log = (incarnation, partition) => (incarnation ? `${incarnation.slice(0, 8)} / ${partition}` : `file ${partition.slice(0, 12)}`);

function drawPositions(detail) {
  const cut = new Map(detail.cut.map(([i, p, n]) => [`${i} ${p}`, n]));
  const rows = detail.vector.map(([i, p, n]) => {
    const name = el("span", { class: "mono", title: i ? `${i} ${p}` : p }, log(i, p));
    return [name, i ? "stream" : "history", cut.get(`${i} ${p}`) ?? 0, n, n - (cut.get(`${i} ${p}`) ?? 0)];
  });
  $("positions").replaceChildren(rows.length
    ? table([["log", ""], ["kind", ""], ["cut", "n"], ["counted to", "n"], ["by the stream", "n"]], rows, "Cut and progress of every log")
    : el("p", { class: "empty" }, "Nothing is served yet."));
}

// ---- look-up -----------------------------------------------------------------------------------
function drawExplanation(told) {
  const steps = told.candidates.map((one) => el("li", { class: one.taken ? "taken" : one.counts ? "" : "out" },
    el("span", {}, pill(`${one.layer} g ${one.generation}`, one.taken ? "accent" : "")),
    el("span", {}, one.taken ? el("strong", {}, "Taken. ") : "", one.why)));
  const answer = told.answer;
  const parts = [el("p", { class: "verdict" }, told.verdict)];
  if (answer) {
    const values = (title, held) => el("div", {}, el("h4", {}, title),
      table([["name", ""], ["value", "n"]], Object.entries(held), title));
    parts.push(el("div", { class: "pair" },
      values("Prediction", answer.prediction), values("Features", answer.features),
      el("div", {}, el("h4", {}, "Answer"), facts([
        ["layer", answer.layer], ["generation", `g ${answer.generation}`], ["as of", when(answer.as_of)],
        ["age", seconds(answer.age_s) + (answer.stale ? ", stale" : "")],
        ["counted", el("span", { class: "mono" }, answer.vector.map(([i, p, n]) => `${log(i, p)} < ${n}`).join("; "))],
      ]))));
  }
  parts.push(el("h4", {}, "How it was chosen"),
    steps.length ? el("ol", { class: "steps" }, steps) : el("p", { class: "empty" }, "No item is held."));
  $("lookup").replaceChildren(...parts);
}

$("lookup-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    drawExplanation(await ask(path("explanations", state.definition, $("entity").value)));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) lock(true);
    else $("lookup").replaceChildren(el("p", { class: "verdict" }, error.message));
  }
});

// ---- reports -----------------------------------------------------------------------------------
const verdictOf = (ok) => (ok === null ? pill("done") : ok ? pill("passed", "good") : pill("failed", "bad"));

function outcome(report, body) {
  return el("details", {}, el("summary", {},
    verdictOf(report.ok), " ", el("strong", {}, report.kind), " ", el("span", {}, report.summary), " ",
    el("span", { class: "faint" }, when(report.at))), body);
}

function runBody(report) {
  const run = report.facts;
  const told = [["rows read", run.rows_read], ["events", run.rows], ["entities", run.entities], ["items sent", run.sent],
    ["champion before", run.champion_before], ["champion after", run.champion_after], ["lake version", run.delta_version],
    ["as of", when(run.as_of)], ["code", run.code_version], ["seed", run.seed]];
  const counts = (title, held) => (held && Object.keys(held).length
    ? [el("h4", {}, title), bars(Object.entries(held), number)] : []);
  return el("div", {},
    run.note ? el("p", { class: "verdict" }, run.note) : null,
    facts(told.filter(([, value]) => value !== null && value !== undefined)),
    run.seconds && Object.keys(run.seconds).length ? [el("h4", {}, "Seconds by step"), bars(Object.entries(run.seconds), seconds)] : null,
    counts("Quarantined by reason", run.quarantined), counts("Dropped by reason", run.dropped),
    (run.categories ?? []).flatMap((one) => counts(one.name, one.counts)),
    run.features?.length ? [el("h4", {}, "Features"), el("div", { class: "scroll" }, table(
      [["feature", ""], ["least", "n"], ["median", "n"], ["mean", "n"], ["greatest", "n"], ["missing", "n"]],
      run.features.map((f) => [f.name, f.least, f.median, f.mean, f.greatest, f.missing]), "Features of the run"))] : null,
    run.metrics && Object.keys(run.metrics).length ? [el("h4", {}, "Metrics"), facts(Object.entries(run.metrics))] : null);
}

function evidenceBody(report) {
  const { outputs, drift, ...plain } = report.facts;
  const parts = [facts([["generation", `g ${report.generation}`], ...Object.entries(plain)])];
  if (outputs) {
    const rows = Object.entries(outputs).map(([name, one]) => [name, one.compared, one.differing, one.gap?.p50 ?? "-", one.gap?.max ?? "-"]);
    parts.push(el("h4", {}, "By output"), el("div", { class: "scroll" },
      table([["output", ""], ["compared", "n"], ["differing", "n"], ["gap p50", "n"], ["gap max", "n"]], rows, "Differences by output")));
  }
  if (drift && Object.keys(drift).length) {
    parts.push(el("h4", {}, "Drift from the training set (stability index; beyond 0.25 much)"),
      bars(Object.entries(drift), (index) => index.toFixed(3)));
  }
  return el("div", {}, parts);
}

function drawReports(reports) {
  const of = (kinds) => reports.filter((report) => kinds(report.kind));
  const list = (found, body, none) => (found.length
    ? el("div", { class: "outcomes" }, found.map((report) => outcome(report, body(report)))) : el("p", { class: "empty" }, none));
  $("evidence").replaceChildren(list(of((kind) => kind !== "run"),
    evidenceBody,
    `None yet: headrace verify ${state.definition} proves what is served.`));
  $("runs").replaceChildren(list(of((kind) => kind === "run"), runBody, "None that this store was told of."));
}

// ---- the token, and the round ------------------------------------------------------------------
function lock(refused) {
  sessionStorage.removeItem(KEY);
  clearTimeout(state.timer);
  $("columns").hidden = true;
  $("forget").hidden = true;
  $("token-form").hidden = false;
  $("token-refused").hidden = !refused;
  connection("", "locked");
  $("token").focus();
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("token").value.trim());
  $("token").value = "";
  refresh(true);
});
$("forget").addEventListener("click", () => lock(false));

function connection(kind, text) {
  $("connection").className = kind;
  $("connection").textContent = text;
}

async function refresh(whole) {
  clearTimeout(state.timer);
  const turn = ++state.asked;
  const hadToken = sessionStorage.getItem(KEY) !== null;
  try {
    const listed = await ask("/v1/definitions");
    const names = listed.definitions.map((line) => line.definition);
    const wanted = state.definition ?? decodeURIComponent(location.hash.slice(1));
    state.definition = names.includes(wanted) ? wanted : names[0] ?? null;
    const detail = state.definition ? await ask(path("definitions", state.definition)) : null;
    const due = whole || state.round++ % REPORTS_EACH === 0;
    const reports = detail && due ? await ask(path("definitions", state.definition) + "/reports") : null;
    if (turn !== state.asked) return;
    $("token-form").hidden = true;
    $("columns").hidden = false;
    $("forget").hidden = !hadToken;
    $("banner").hidden = names.length > 0;
    $("banner").textContent = names.length ? "" : "Nothing was published to this store yet: headrace run segments";
    $("main").hidden = !detail;
    drawDefinitions(listed);
    if (detail) drawDetail(detail);
    // What was opened stays open while nothing new is told.
    const told = reports && `${state.definition} ${JSON.stringify(reports)}`;
    if (told && told !== state.told) {
      state.told = told;
      drawReports(reports.reports);
    }
    connection("live", `live ${new Date().toLocaleTimeString([], { hour12: false })}`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (turn !== state.asked) return;
    if (error.status === 401) return lock(hadToken);
    $("banner").hidden = false;
    $("banner").textContent = error.status === 403 ? `The token does not allow this: ${error.message}` : `No answer: ${error.message}. What is shown is as of the last answer; trying again.`;
    if (error.status === 403) $("forget").hidden = false;
    connection("lost", error.status === 403 ? "refused" : "no answer");
  }
  state.timer = setTimeout(() => refresh(false), document.hidden ? 6 * EVERY_MS : EVERY_MS);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && $("token-form").hidden) refresh(false); });
window.addEventListener("hashchange", () => choose(decodeURIComponent(location.hash.slice(1))));
refresh(true);
