"use strict";
// The console of Kivi. It asks for figures once a second, and works rates and percentiles out of what has
// changed between two answers; nothing that it shows is ever taken for HTML.
(() => {
  const KEPT = 300;
  const EVERY_MS = 1000;
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";

  // ---- elements

  const fill = (element, children) => {
    for (const child of children.flat()) {
      if (child !== null && child !== undefined) element.append(child);
    }
    return element;
  };
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") element.className = value;
      else element.setAttribute(name, value);
    }
    return fill(element, children);
  };
  const draw = (tag, attributes, ...children) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return fill(element, children);
  };

  // ---- how figures are written

  const round = (n) => String(n >= 100 ? Math.round(n) : parseFloat(n.toPrecision(3)));
  const scaled = (n, units, base) => {
    let at = 0;
    while (n >= base && at < units.length - 1) { n /= base; at += 1; }
    return [round(n), units[at]];
  };
  const joined = ([n, unit]) => (unit ? `${n} ${unit}` : n);
  const asCount = (n) => scaled(n, ["", "k", "M", "G"], 1000);
  const asBytes = (n) => scaled(n, ["B", "KiB", "MiB", "GiB", "TiB"], 1024);
  const asMicros = (us) => (us === null ? ["–", ""] : scaled(us, ["µs", "ms", "s"], 1000));
  const count = (n) => joined(asCount(n));
  const exact = (n) => n.toLocaleString("en-US");
  const bytes = (n) => joined(asBytes(n));
  const perSecond = (n) => `${bytes(n)}/s`;
  const micros = (us) => joined(asMicros(us));
  const percent = (part) => (part === null ? "–" : `${(part * 100).toFixed(part >= 0.9995 || part === 0 ? 0 : 1)}%`);
  const span = (secs) => {
    const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
    const at = Math.max(0, units.findIndex(([, size]) => secs >= size));
    if (secs < 1) return secs <= 0 ? "0 s" : "< 1 s";
    const [name, size] = units[at];
    const rest = units[at + 1];
    const whole = Math.floor(secs / size);
    const part = rest ? Math.floor((secs - whole * size) / rest[1]) : 0;
    return part ? `${whole} ${name} ${part} ${rest[0]}` : `${whole} ${name}`;
  };
  const two = (n) => String(n).padStart(2, "0");
  const clock = (ms) => {
    const date = new Date(ms);
    return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  };
  const moment = (ms) => {
    const date = new Date(ms);
    return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(ms)}`;
  };

  // ---- what is asked for

  const trouble = (text) => {
    $("trouble").hidden = !text;
    $("trouble").textContent = text || "";
  };
  const ask = async (path) => {
    // Not relative to the page's address, which may have a user and a password in it.
    const base = `${location.origin}${location.pathname.replace(/\/$/, "")}`;
    const response = await fetch(`${base}/api/${path}`, { credentials: "same-origin", cache: "no-store" });
    if (!response.ok) {
      const error = new Error((await response.text()).trim() || `HTTP ${response.status}`);
      error.status = response.status;
      throw error;
    }
    return response.json();
  };

  // ---- tables: columns are { name, of, text, class, title }

  const sorting = {};
  const table = (id, columns, rows, none) => {
    const place = $(id);
    const order = sorting[id];
    if (order) {
      const { of } = columns[order.column];
      const sign = order.down ? -1 : 1;
      const less = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
      rows = [...rows].sort((a, b) => sign * less(of(a) ?? -1, of(b) ?? -1));
    }
    if (rows.length === 0) return place.replaceChildren(make("p", { class: "empty" }, none));
    const heads = columns.map((column, at) => {
      const button = make("button", { type: "button" }, column.name);
      button.addEventListener("click", () => {
        const now = sorting[id];
        const isNumber = column.class === "number";
        sorting[id] = { column: at, down: now && now.column === at ? !now.down : isNumber };
        table(id, columns, rows, none);
      });
      const head = make("th", { scope: "col", class: column.class === "number" ? "number" : "" }, button);
      if (order && order.column === at) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      return head;
    });
    const body = rows.map((row) => make("tr", {}, columns.map((column) => {
      const value = column.of(row);
      const shown = column.text ? column.text(value, row) : value;
      const cell = make("td", { class: column.class || "" }, shown === null || shown === undefined ? "–" : shown);
      if (column.title) cell.title = column.title(row);
      return cell;
    })));
    place.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, body)));
  };

  // ---- charts

  const history = [];
  const niceTop = (top) => {
    if (!(top > 0)) return 1;
    const size = 10 ** Math.floor(Math.log10(top));
    return [1, 2, 2.5, 5, 10].map((step) => step * size).find((step) => step >= top);
  };
  const niceBytes = (top) => {
    if (!(top > 0)) return 1024;
    const size = 1024 ** Math.floor(Math.log(top) / Math.log(1024));
    return niceTop(top / size) * size;
  };

  // Steps of ten below and above all values, for what spans several of them.
  const decades = (values) => {
    const seen = values.filter((value) => value > 0);
    const low = seen.length ? Math.floor(Math.log10(Math.min(...seen))) : 0;
    const high = seen.length ? Math.ceil(Math.log10(Math.max(...seen))) : 1;
    return [low, Math.max(high, low + 1)];
  };
  const windows = [[60, "1 min"], [150, "2.5 min"], [KEPT, "5 min"]];

  const charts = [];
  // `top` makes a round number of the largest value; without it the scale is by tens.
  const chart = (name, series, format, top) => {
    const place = $(`chart-${name}`);
    const one = { at: null, step: 1 };
    const paint = () => {
      const { clientWidth: width, clientHeight: height } = place;
      if (width === 0) return;
      const [left, right, above, below] = [58, 6, 6, 20];
      const values = history.flatMap((sample) => series.map(({ of }) => of(sample) ?? 0));
      const [shown, shownName] = windows.find(([size]) => history.length <= size);
      const x = (at) => left + (width - left - right) * (1 - (history.length - 1 - at) / (shown - 1));
      one.step = (width - left - right) / (shown - 1);
      const most = top ? top(Math.max(0, ...values)) : 1;
      const [low, high] = decades(values);
      const share = (value) => (top ? value / most : (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low));
      const y = (value) => above + (height - above - below) * (1 - share(value));
      const parts = [];
      const marks = top ? [0, most / 2, most] : Array.from({ length: high - low + 1 }, (_, at) => 10 ** (low + at));
      for (const value of marks) {
        parts.push(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
        parts.push(draw("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, format(value)));
      }
      parts.push(draw("text", { x: left, y: height - 4, "text-anchor": "start" }, `${shownName} ago`));
      parts.push(draw("text", { x: width - right, y: height - 4, "text-anchor": "end" }, "now"));
      series.forEach(({ of }, index) => {
        const runs = [];
        let run = [];
        history.forEach((sample, at) => {
          const value = of(sample);
          if (value === null) { if (run.length) runs.push(run); run = []; }
          else run.push([x(at), y(value)]);
        });
        if (run.length) runs.push(run);
        for (const points of runs) {
          const line = points.map(([px, py], at) => `${at ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
          if (series.length === 1 && points.length > 1) {
            const floor = y(0).toFixed(1);
            const area = `${line}L${points.at(-1)[0].toFixed(1)} ${floor}L${points[0][0].toFixed(1)} ${floor}Z`;
            parts.push(draw("path", { class: "area", d: area }));
          }
          parts.push(draw("path", { class: `stroke-${index + 1}`, d: points.length > 1 ? line : `${line}h0.1` }));
        }
      });
      const pointed = one.at === null ? null : history[one.at];
      if (pointed) parts.push(draw("line", { class: "cursor", x1: x(one.at), x2: x(one.at), y1: above, y2: height - below }));
      const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name} of the last five minutes` }, parts);
      place.replaceChildren(svg);
      if (pointed) {
        const lines = series.map(({ name: label, of }) => make("div", {}, `${label}: ${of(pointed) === null ? "–" : format(of(pointed))}`));
        const tip = make("div", { class: "tip" }, make("b", {}, clock(pointed.at)), lines);
        place.append(tip);
        tip.style.left = `${Math.min(Math.max(0, x(one.at) + 10), width - tip.offsetWidth)}px`;
        if (x(one.at) + 10 + tip.offsetWidth > width) tip.style.left = `${x(one.at) - 10 - tip.offsetWidth}px`;
      }
      const last = history.at(-1);
      $(`legend-${name}`).replaceChildren(...series.map(({ name: label, of }, index) => {
        const value = last && of(last) !== null ? format(of(last)) : "–";
        return make("span", {}, make("i", { class: `series-${index + 1}` }), `${label} ${value}`);
      }));
    };
    place.addEventListener("pointermove", (event) => {
      const box = place.getBoundingClientRect();
      const back = Math.round((box.right - 6 - event.clientX) / one.step);
      const at = history.length - 1 - back;
      one.at = at >= 0 && at < history.length ? at : null;
      paint();
    });
    place.addEventListener("pointerleave", () => { one.at = null; paint(); });
    new ResizeObserver(paint).observe(place);
    charts.push(paint);
  };
  chart("ops", [{ name: "commands/s", of: (s) => s.ops }], count, niceTop);
  chart("latency", [
    { name: "p50", of: (s) => s.p50 }, { name: "p99", of: (s) => s.p99 }, { name: "p99.9", of: (s) => s.p999 },
  ], micros, null);
  chart("memory", [{ name: "used", of: (s) => s.memory }], bytes, niceBytes);
  chart("network", [{ name: "in", of: (s) => s.netIn }, { name: "out", of: (s) => s.netOut }], perSecond, niceBytes);

  // ---- figures from one answer to the next

  // The time within which this part of the responses came, of those that are new in a histogram.
  const quantile = (before, after, part) => {
    const { bounds_us: bounds, cumulative } = after;
    const counts = cumulative.map((n, at) => n - (before ? before.cumulative[at] : 0));
    const total = counts.at(-1);
    if (!(total > 0) || counts.some((n) => n < 0)) return null;
    const want = total * part;
    const at = counts.findIndex((n) => n >= want);
    if (at >= bounds.length) return bounds.at(-1);
    const [low, seen] = at === 0 ? [0, 0] : [bounds[at - 1], counts[at - 1]];
    const share = counts[at] > seen ? (want - seen) / (counts[at] - seen) : 1;
    return low + (bounds[at] - low) * share;
  };

  const compare = (before, after) => {
    const secs = before ? Math.max(0.001, (after.now_ms - before.now_ms) / 1000) : 0;
    const rate = (of) => {
      if (!before) return null;
      const grown = of(after) - of(before);
      return grown < 0 ? null : grown / secs;
    };
    const within = (part) => (before ? quantile(before.responses, after.responses, part) : null);
    const hits = rate((o) => o.totals.hits);
    const misses = rate((o) => o.totals.misses);
    return {
      at: after.now_ms,
      ops: rate((o) => o.totals.commands),
      errors: rate((o) => o.totals.errors),
      netIn: rate((o) => o.totals.net_in_bytes),
      netOut: rate((o) => o.totals.net_out_bytes),
      cpu: rate((o) => o.cpu_secs),
      expired: rate((o) => o.totals.expired),
      evicted: rate((o) => o.totals.evicted),
      hitRatio: hits === null || hits + misses === 0 ? null : hits / (hits + misses),
      p50: within(0.5), p99: within(0.99), p999: within(0.999),
      memory: after.memory.used_bytes,
      clients: after.clients.connected,
    };
  };

  // ---- views

  const card = (name, [value, unit], note) => make("div", { class: "panel card" },
    make("span", { class: "name" }, name),
    make("span", { class: "value" }, value, unit ? make("small", {}, unit) : null),
    make("span", { class: "note", title: note }, note));
  const orNone = (value, format) => (value === null ? ["–", ""] : format(value));

  const showTop = (o) => {
    document.title = `Kivi :${o.port}`;
    const isReady = o.obstacles === "";
    $("status").textContent = isReady ? "Ready" : "Not ready";
    $("status").className = `pill ${isReady ? "good" : "bad"}`;
    trouble(o.obstacles.trim());
    const fact = (name, value) => make("span", {}, `${name} `, make("b", {}, value));
    $("facts").replaceChildren(
      fact("version", o.version), fact("port", String(o.port)), fact("threads", String(o.io_threads)),
      fact("up", span((o.now_ms - o.started_at_ms) / 1000)), fact("user", o.user));
  };

  const rates = new Map();
  const noteRates = (before, after) => {
    rates.clear();
    const secs = before ? (after.now_ms - before.now_ms) / 1000 : 0;
    const old = new Map((before ? before.commands : []).map((command) => [command.name, command]));
    for (const command of after.commands) {
      const calls = command.calls - (old.get(command.name)?.calls ?? 0);
      rates.set(command.name, secs > 0 && calls >= 0 ? calls / secs : 0);
    }
  };

  const showOverview = (o) => {
    const now = history.at(-1);
    const memory = o.memory.max_bytes > 0
      ? `${percent(o.memory.used_bytes / o.memory.max_bytes)} of ${bytes(o.memory.max_bytes)}, ${o.memory.policy}`
      : `peak ${bytes(o.memory.peak_bytes)}, no limit`;
    const save = o.persistence.unsaved_changes;
    const keys = o.databases.reduce((sum, db) => sum + db.keys, 0);
    $("cards").replaceChildren(
      card("Commands per second", orNone(now.ops, asCount), `${now.errors === null ? "–" : count(now.errors)} errors/s`),
      card("Response time p99", asMicros(now.p99), `p50 ${micros(now.p50)}, p99.9 ${micros(now.p999)}`),
      card("Memory", asBytes(o.memory.used_bytes), memory),
      card("Clients", [exact(o.clients.connected), ""], `${exact(o.clients.blocked)} blocked, at most ${exact(o.clients.max)}`),
      card("Keys", asCount(keys), `${save === 0 ? "all saved" : `${count(save)} changes not saved`}${o.persistence.aof ? ", AOF on" : ""}`),
      card("Hit ratio", [percent(now.hitRatio), ""], `CPU ${now.cpu === null ? "–" : percent(now.cpu)}, ${now.expired === null ? "–" : count(now.expired)} expired/s`));
    const busiest = o.commands.map((command) => ({ ...command, rate: rates.get(command.name) ?? 0 }))
      .filter((command) => command.calls > 0)
      .sort((a, b) => b.rate - a.rate || b.calls - a.calls).slice(0, 8);
    const most = Math.max(1, ...busiest.map((command) => command.rate));
    table("busiest", [
      { name: "Command", of: (c) => c.name, class: "mono", text: (name) => name.toUpperCase().replace("|", " ") },
      { name: "Calls/s", of: (c) => c.rate, class: "number", text: (rate) => {
        const bar = make("i");
        bar.style.width = `${(100 * rate) / most}%`;
        return make("span", {}, count(rate), make("span", { class: "bar" }, bar));
      } },
      { name: "Calls", of: (c) => c.calls, class: "number", text: count },
      { name: "p99", of: (c) => c.p99_us, class: "number", text: micros },
    ], busiest, "No command has run yet.");
    table("databases", [
      { name: "Database", of: (db) => db.db, text: (db) => `db${db}` },
      { name: "Keys", of: (db) => db.keys, class: "number", text: exact },
      { name: "With a TTL", of: (db) => db.with_ttl, class: "number", text: exact },
    ], o.databases, "There are no keys.");
    for (const paint of charts) paint();
  };

  const showCommands = (o) => table("commands-table", [
    { name: "Command", of: (c) => c.name, class: "mono", text: (name) => name.toUpperCase().replace("|", " ") },
    { name: "Calls/s", of: (c) => rates.get(c.name) ?? 0, class: "number", text: count },
    { name: "Calls", of: (c) => c.calls, class: "number", text: exact },
    { name: "Errors", of: (c) => c.failed, class: "number", text: (n) => make("span", { class: n ? "wrong" : "zero" }, exact(n)) },
    { name: "Mean", of: (c) => (c.calls ? c.usec / c.calls : null), class: "number", text: micros },
    { name: "p50", of: (c) => c.p50_us, class: "number", text: micros },
    { name: "p99", of: (c) => c.p99_us, class: "number", text: micros },
    { name: "p99.9", of: (c) => c.p999_us, class: "number", text: micros },
    { name: "Time", of: (c) => c.usec, class: "number", text: (us) => micros(us) },
  ], o.commands, "No command has run yet.");

  const showClients = async () => {
    const { clients, total } = await ask("clients");
    $("clients-count").textContent = clients.length < total ? `${exact(clients.length)} of ${exact(total)}` : exact(total);
    const int = (name) => (client) => Number(client[name] ?? 0);
    table("clients-table", [
      { name: "Id", of: int("id"), class: "number" },
      { name: "Address", of: (c) => c.addr, class: "mono" },
      { name: "Name", of: (c) => c.name, text: (name) => name || "–" },
      { name: "User", of: (c) => c.user },
      { name: "Last command", of: (c) => c.cmd, class: "mono", text: (cmd) => cmd.toUpperCase().replace("|", " ") },
      { name: "Idle", of: int("idle"), class: "number", text: span },
      { name: "Connected for", of: int("age"), class: "number", text: span },
      { name: "Db", of: int("db"), class: "number" },
      { name: "Memory", of: int("tot-mem"), class: "number", text: bytes },
      { name: "Flags", of: (c) => c.flags, class: "mono" },
      { name: "Library", of: (c) => [c["lib-name"], c["lib-ver"]].filter(Boolean).join(" "), text: (lib) => lib || "–" },
    ], clients, "No client is connected.");
  };

  const showSlow = async () => {
    const { entries = [] } = await ask("slowlog");
    table("slowlog-table", [
      { name: "When", of: (e) => e.at_secs, text: (secs) => moment(secs * 1000) },
      { name: "Took", of: (e) => e.usec, class: "number", text: micros },
      { name: "Command", of: (e) => e.args.join(" "), class: "mono long", title: (e) => e.args.join(" ") },
      { name: "Client", of: (e) => e.addr, class: "mono" },
      { name: "Name", of: (e) => e.name, text: (name) => name || "–" },
    ], entries, "No command was slow.");
  };

  // ---- keys

  const browser = { keys: [], hidden: 0, cursor: "0", isAsking: false, has: false };
  const showKeys = () => {
    const { keys, hidden, cursor } = browser;
    const isMore = cursor !== "0";
    $("more").hidden = !isMore;
    $("more").disabled = browser.isAsking;
    const notes = [`${exact(keys.length)} shown`];
    if (hidden) notes.push(`${exact(hidden)} that this user may not read`);
    if (isMore) notes.push("there may be more");
    $("keys-count").textContent = notes.join(", ");
    table("keys-table", [
      { name: "Key", of: (k) => k.key, class: "mono long", title: (k) => k.key, text: (key, k) => (k.key_bytes > 512 ? `${key}…` : key) },
      { name: "Type", of: (k) => k.type, text: (type) => make("span", { class: `badge ${type}` }, type) },
      { name: "Encoding", of: (k) => k.encoding },
      { name: "Length", of: (k) => k.length, class: "number", text: (n, k) => (n === null ? "–" : k.type === "string" ? bytes(n) : exact(n)) },
      { name: "Memory", of: (k) => k.memory_bytes, class: "number", text: (n) => (n === null ? "–" : bytes(n)) },
      { name: "Expires in", of: (k) => k.ttl_ms, class: "number", text: (ms) => (ms === null ? make("span", { class: "zero" }, "never") : span(ms / 1000)) },
    ], keys, browser.isAsking ? "Looking…" : isMore ? "Nothing so far; go on with “Show more”." : "No such key.");
  };
  const askKeys = async (isNew) => {
    if (browser.isAsking) return;
    if (isNew) Object.assign(browser, { keys: [], hidden: 0, cursor: "0" });
    browser.isAsking = true;
    browser.has = true;
    showKeys();
    try {
      const query = new URLSearchParams({ cursor: browser.cursor, match: $("match").value, type: $("type").value, db: $("db").value });
      const found = await ask(`keys?${query}`);
      const known = new Set(browser.keys.map((k) => k.key));
      browser.keys.push(...found.keys.filter((k) => k.key_bytes > 512 || !known.has(k.key)));
      browser.hidden += found.hidden;
      browser.cursor = found.cursor;
      browser.isAsking = false;
      showKeys();
    } catch (error) {
      browser.isAsking = false;
      browser.cursor = "0";
      showKeys();
      $("keys-table").replaceChildren(make("p", { class: "empty" }, error.message));
    }
  };
  $("filters").addEventListener("submit", (event) => { event.preventDefault(); askKeys(true); });
  $("more").addEventListener("click", () => askKeys(false));
  const offerDatabases = (o) => {
    const select = $("db");
    const wanted = [...new Set([0, ...o.databases.map((db) => db.db)])].sort((a, b) => a - b).map(String);
    if ([...select.options].map((option) => option.value).join() === wanted.join()) return;
    const chosen = select.value;
    select.replaceChildren(...wanted.map((db) => make("option", { value: db }, db)));
    select.value = wanted.includes(chosen) ? chosen : "0";
  };

  // ---- tabs and themes

  const tabs = [...document.querySelectorAll("[role=tab]")];
  const open = () => location.hash.slice(1) || "overview";
  const showTab = () => {
    const name = tabs.some((tab) => tab.getAttribute("aria-controls") === open()) ? open() : "overview";
    for (const tab of tabs) {
      const isOpen = tab.getAttribute("aria-controls") === name;
      tab.setAttribute("aria-selected", String(isOpen));
      tab.tabIndex = isOpen ? 0 : -1;
      $(tab.getAttribute("aria-controls")).hidden = !isOpen;
    }
    if (last) showView();
  };
  tabs.forEach((tab, at) => {
    tab.addEventListener("click", () => { location.hash = tab.getAttribute("aria-controls"); });
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(at + step + tabs.length) % tabs.length];
      next.focus();
      next.click();
    });
  });
  const themes = ["system", "light", "dark"];
  const store = { get: () => { try { return localStorage.getItem("kivi-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("kivi-theme", value); } catch { /* Then it is forgotten. */ } } };
  const showTheme = (theme) => {
    if (theme === "system") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.setAttribute("data-theme", theme);
    $("theme").textContent = `Theme: ${theme}`;
  };
  let theme = themes.includes(store.get()) ? store.get() : "system";
  showTheme(theme);
  $("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    store.set(theme);
    showTheme(theme);
  });

  // ---- once a second

  let last = null;
  const showView = () => {
    const name = open();
    const wrong = (id) => (error) => $(id).replaceChildren(make("p", { class: "empty" }, error.message));
    if (name === "commands") showCommands(last);
    else if (name === "clients") showClients().catch(wrong("clients-table"));
    else if (name === "slowlog") showSlow().catch(wrong("slowlog-table"));
    else if (name === "keys") { if (!browser.has) askKeys(true); }
    else showOverview(last);
  };
  const look = async () => {
    try {
      const now = await ask("overview");
      const before = last && last.pid === now.pid && last.started_at_ms === now.started_at_ms ? last : null;
      if (last && !before) history.length = 0;
      noteRates(before, now);
      history.push(compare(before, now));
      if (history.length > KEPT) history.shift();
      last = now;
      showTop(now);
      offerDatabases(now);
      showView();
    } catch (error) {
      $("status").textContent = error.status ? "Refused" : "No answer";
      $("status").className = "pill bad";
      trouble(error.status ? error.message : "The server does not answer. Trying again.");
    }
  };
  const run = async () => {
    if (!document.hidden) await look();
    setTimeout(run, EVERY_MS);
  };
  window.addEventListener("hashchange", showTab);
  showTab();
  run();
})();
