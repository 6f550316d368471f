"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const redraws = []; // what has to be drawn again in another scheme or at another size

  // ---- colour scheme: as the system has it, or as chosen

  const schemes = ["auto", "light", "dark"];
  const remembered = (() => {
    try { return localStorage.getItem("gpot-theme"); } catch { return null; } // a file may have no storage
  })();
  const themeButton = byId("theme");
  const useScheme = (scheme) => {
    if (scheme === "auto") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.dataset.theme = scheme;
    byId("scheme").textContent = scheme;
    themeButton.setAttribute("aria-label", `Theme: ${scheme}`);
    themeButton.dataset.scheme = scheme;
    try { localStorage.setItem("gpot-theme", scheme); } catch { /* it is not remembered, then */ }
    redraws.forEach((draw) => draw());
  };
  themeButton.addEventListener("click", () =>
    useScheme(schemes[(schemes.indexOf(themeButton.dataset.scheme) + 1) % schemes.length]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraws.forEach((draw) => draw()));

  // ---- figures, enlarged

  const dialog = byId("zoomed");
  document.querySelectorAll(".zoom").forEach((button) => button.addEventListener("click", () => {
    const shown = button.querySelector("img"), large = dialog.querySelector("img");
    large.src = shown.src;
    large.alt = shown.alt;
    dialog.showModal();
  }));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // ---- arrays, canvases, numbers

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const GAP = -32768;
  const unpack = (packed) => {
    const raw = new DataView(bytes(packed.data).buffer), factor = packed.scale / 32767;
    const values = new Float32Array(raw.byteLength / 2);
    for (let k = 0; k < values.length; k++) {
      const whole = raw.getInt16(2 * k, true);
      values[k] = whole === GAP ? NaN : whole * factor;
    }
    return values;
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const minus = (text) => text.replace(/-/g, "−");
  const fixed = (value, digits) => minus((Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits));
  const fit = (canvas, ratio = 1) => { // as many pixels as the screen has
    const wide = Math.max(1, Math.round(canvas.clientWidth * Math.min(window.devicePixelRatio || 1, 2)));
    const high = Math.round(wide * ratio);
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, wide, high);
    return context;
  };
  const fill = (select, names) => select.replaceChildren(...names.map((name, k) => new Option(name, k)));
  // an animation: step(elapsed seconds) returns false at its end
  const player = (button, start, step) => {
    let playing = false, before = 0;
    const set = (on) => {
      playing = on;
      button.textContent = on ? "Pause" : "Play";
      button.setAttribute("aria-pressed", String(on));
    };
    const frame = (now) => {
      if (!playing) return;
      if (step(Math.min(0.1, (now - before) / 1000))) { before = now; requestAnimationFrame(frame); } else set(false);
    };
    button.addEventListener("click", () => {
      set(!playing);
      if (!playing) return;
      start();
      before = performance.now();
      requestAnimationFrame(frame);
    });
    return { stop: () => set(false) };
  };
  const watchSize = (element, draw) => { redraws.push(draw); new ResizeObserver(draw).observe(element); };

  // ---- the GP flow

  const flowView = (groups) => {
    const section = byId("flow"), canvas = byId("flow-canvas"), small = byId("flow-data"), select = byId("flow-model");
    const slider = byId("flow-time"), shown = byId("flow-t"), mesh = byId("flow-mesh"), dots = byId("flow-dots");
    const SECONDS = 5;
    section.querySelector(".stage").hidden = false;
    const models = [];
    groups.forEach((group) => {
      group.flows.forEach((flow) => {
        select.append(new Option(`${group.title}: ${flow.name}`, models.length));
        models.push({ group, flow });
      });
    });
    let now = null;
    const load = () => {
      const { group, flow } = models[+select.value];
      group.points ??= unpack(group.x);
      group.inks ??= (() => {
        const rgb = bytes(group.colours);
        return Array.from({ length: rgb.length / 3 }, (_, k) => `rgb(${rgb[3 * k]},${rgb[3 * k + 1]},${rgb[3 * k + 2]})`);
      })();
      flow.path ??= unpack(flow.frames);
      flow.lines ??= unpack(flow.mesh);
      const [times, n] = flow.frames.shape, [, m, p] = flow.mesh.shape;
      const reach = (values) => values.reduce((most, v) => Math.max(most, Math.abs(v) || 0), 0);
      now = {
        group, flow, times, n, m, p, at: new Float32Array(2 * n), line: new Float32Array(2 * m * p),
        limit: 1.04 * reach(flow.path), dataLimit: 1.06 * reach(group.points),
      };
      const cost = (t) => { place(t); return costNow(); };
      byId("flow-ends").textContent = `${fixed(cost(0), 3)} → ${fixed(cost(1), 3)}`;
      const left = flow.left_out ? `, ${flow.left_out} escaped` : "";
      byId("flow-count").textContent = `${n - flow.left_out}${left}`;
      drawData();
      draw();
    };
    const between = (values, out, t, size) => { // straight between frames
      const where = t * (now.times - 1), k = Math.min(Math.floor(where), now.times - 2), part = where - k;
      const a = k * size, b = a + size;
      for (let j = 0; j < size; j++) out[j] = values[a + j] + part * (values[b + j] - values[a + j]);
    };
    const place = (t) => {
      between(now.flow.path, now.at, t, 2 * now.n);
      between(now.flow.lines, now.line, t, 2 * now.m * now.p);
    };
    const costNow = () => {
      let total = 0, count = 0;
      for (let k = 0; k < now.n; k++) {
        const dx = now.at[2 * k] - now.group.points[2 * k], dy = now.at[2 * k + 1] - now.group.points[2 * k + 1];
        const d = dx * dx + dy * dy;
        if (d === d) { total += d; count++; }
      }
      return total / count;
    };
    const scatter = (context, points, inks, limit, size) => {
      const scale = size / 2 / limit, r = Math.max(1.3, size / 210);
      for (let k = 0; k < inks.length; k++) {
        const x = points[2 * k], y = points[2 * k + 1];
        if (x !== x || y !== y) continue;
        context.fillStyle = inks[k];
        context.beginPath();
        context.arc(size / 2 + x * scale, size / 2 - y * scale, r, 0, 7);
        context.fill();
      }
    };
    const drawData = () => {
      if (!now) return;
      const context = fit(small);
      scatter(context, now.group.points, now.group.inks, now.dataLimit, small.width);
    };
    const draw = () => {
      if (!now) return;
      const t = +slider.value;
      place(t);
      const context = fit(canvas), size = canvas.width, scale = size / 2 / now.limit;
      context.strokeStyle = colour("--ring");
      context.lineWidth = Math.max(1, size / 700);
      for (let r = 1; r < now.limit; r++) { // circles of equal density, which the flow keeps
        context.beginPath();
        context.arc(size / 2, size / 2, r * scale, 0, 7);
        context.stroke();
      }
      if (mesh.checked) {
        context.strokeStyle = colour("--mesh");
        context.lineWidth = Math.max(1, size / 520);
        context.beginPath();
        for (let i = 0; i < now.m; i++) {
          let down = false;
          for (let j = 0; j < now.p; j++) {
            const q = 2 * (i * now.p + j), x = now.line[q], y = now.line[q + 1];
            if (x !== x || y !== y) { down = false; continue; }
            context[down ? "lineTo" : "moveTo"](size / 2 + x * scale, size / 2 - y * scale);
            down = true;
          }
        }
        context.stroke();
      }
      if (dots.checked) scatter(context, now.at, now.group.inks, now.limit, size);
      const mean = [0, 0], square = [0, 0];
      let count = 0;
      for (let k = 0; k < now.n; k++) {
        const x = now.at[2 * k], y = now.at[2 * k + 1];
        if (x !== x || y !== y) continue;
        mean[0] += x; mean[1] += y; square[0] += x * x; square[1] += y * y; count++;
      }
      const average = mean.map((v) => v / count), std = square.map((v, k) => Math.sqrt(v / count - average[k] ** 2));
      const cost = fixed(costNow(), 3);
      shown.textContent = t.toFixed(2);
      byId("flow-cost").textContent = cost;
      byId("flow-mean").textContent = average.map((v) => fixed(v, 2)).join(", ");
      byId("flow-std").textContent = std.map((v) => fixed(v, 2)).join(", ");
      byId("flow-where").textContent = t === 0 ? "f(x), before the GP flow" : t === 1 ? "s(f(x)), after the GP flow" : "on the way";
      canvas.setAttribute("aria-label",
        `${now.group.title}, ${now.flow.name}: ${count} particles at time ${t.toFixed(2)}, mean squared distance to the data ${cost}`);
      slider.setAttribute("aria-valuetext", `${t.toFixed(2)}, cost ${cost}`);
    };
    const play = player(byId("flow-play"),
      () => { if (+slider.value >= 1) { slider.value = 0; draw(); } },
      (seconds) => {
        // the slider rounds to its step: time goes on between its values
        play.time = Math.min(1, (Math.abs((play.time ?? -1) - +slider.value) < 0.011 ? play.time : +slider.value) + seconds / SECONDS);
        slider.value = play.time;
        draw();
        return play.time < 1;
      });
    slider.addEventListener("input", () => { play.stop(); play.time = undefined; draw(); });
    select.addEventListener("change", load);
    mesh.addEventListener("change", draw);
    dots.addEventListener("change", draw);
    load();
    watchSize(canvas, draw);
    watchSize(small, drawData);
  };

  // ---- latent traversals

  const traversalView = (items) => {
    const section = byId("traversals"), holder = byId("trav-panels"), slider = byId("trav-value"), shown = byId("trav-v");
    const selects = { item: byId("trav-item"), point: byId("trav-point"), axis: byId("trav-axis") };
    section.querySelector(".stage").hidden = false;
    fill(selects.item, items.map((item) => item.title));
    let item = null, panels = [];
    const chooseItem = () => {
      item = items[+selects.item.value];
      fill(selects.point, Array.from({ length: item.points }, (_, k) => k + 1));
      fill(selects.axis, item.kl.map((kl, k) => `${k + 1} (KL ${kl.toFixed(2)})`));
      slider.max = item.values.length - 1;
      slider.value = Math.floor(item.values.length / 2);
      panels = item.panels.map((name) => {
        const figure = document.createElement("figure"), caption = document.createElement("figcaption");
        const big = document.createElement("canvas"), strip = document.createElement("canvas");
        caption.textContent = name;
        big.className = "big";
        big.setAttribute("role", "img");
        strip.className = "strip";
        strip.setAttribute("aria-hidden", "true");
        figure.append(caption, big, strip);
        return { name, figure, big, strip, sheet: new Image() };
      });
      holder.replaceChildren(...panels.map((panel) => panel.figure));
      byId("trav-note").textContent = item.left_out
        ? `${item.left_out} more data points are in the figure's own files.` : "";
      choosePoint();
    };
    const choosePoint = () => panels.forEach((panel, k) => {
      panel.sheet = new Image();
      panel.sheet.onload = draw;
      panel.sheet.src = item.sheets[k][+selects.point.value];
    });
    const draw = () => {
      if (!item) return;
      const row = +selects.axis.value, column = +slider.value, side = item.side, k = item.values.length;
      const value = fixed(item.values[column], 2);
      shown.textContent = value;
      slider.setAttribute("aria-valuetext", value);
      panels.forEach(({ name, big, strip, sheet }) => {
        if (!sheet.complete || !sheet.naturalWidth) return;
        const context = fit(big);
        context.imageSmoothingEnabled = false;
        context.drawImage(sheet, column * side, row * side, side, side, 0, 0, big.width, big.height);
        big.setAttribute("aria-label",
          `${name}, data point ${+selects.point.value + 1}, coordinate ${row + 1} at ${value}`);
        const small = fit(strip, 1 / k), width = strip.width / k;
        small.imageSmoothingQuality = "high";
        small.drawImage(sheet, 0, row * side, k * side, side, 0, 0, strip.width, strip.height);
        small.strokeStyle = "#b85400";
        small.lineWidth = Math.max(2, width / 10);
        small.strokeRect(column * width + 1, 1, width - 2, strip.height - 2);
      });
    };
    let clock = 0, way = 1;
    const play = player(byId("trav-play"), () => { clock = 0; way = 1; }, (seconds) => {
      clock += seconds;
      if (clock < 0.14) return true;
      clock = 0;
      const at = +slider.value + way; // there and back, until it is stopped
      if (at < 0 || at > +slider.max) { way = -way; slider.value = +slider.value + way; } else slider.value = at;
      draw();
      return true;
    });
    slider.addEventListener("input", () => { play.stop(); draw(); });
    selects.item.addEventListener("change", chooseItem);
    selects.point.addEventListener("change", choosePoint);
    selects.axis.addEventListener("change", draw);
    chooseItem();
    watchSize(holder, draw);
  };

  useScheme(schemes.includes(remembered) ? remembered : "auto");
  if (data.flows.length) flowView(data.flows);
  if (data.traversals.length) traversalView(data.traversals);
})();
