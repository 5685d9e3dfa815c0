"use strict";
// All that is live on a page comes over one WebSocket: text frames with states and verdicts, binary frames with pictures.
(() => {
  const FIRST_RETRY_MS = 500;
  const LONGEST_RETRY_MS = 5000;
  const SILENT_MS = 4000; // a state comes every second: after so long without, the connection is as good as lost
  const KEPT_VERDICTS = 16;

  const words = JSON.parse(document.body.dataset.words || "{}");
  const lines = new Map(); // name -> {roots, status, verdict, verdicts, come, shown, at}
  let socket = null;
  let retry = FIRST_RETRY_MS;
  let heard = 0;
  let lost = document.body.dataset.rendered === "lost"; // the service: the console's server has no answer from it

  function rootsOf(name) {
    return [...document.querySelectorAll("[data-line]")].filter((root) => root.dataset.line === name);
  }

  function line(name) {
    if (!lines.has(name)) {
      const roots = rootsOf(name);
      const age = roots.length ? parseFloat(roots[0].dataset.age) : NaN;
      const known = roots.length && roots[0].dataset.verdict ? JSON.parse(roots[0].dataset.verdict) : null;
      const status = roots.length && roots[0].dataset.status ? JSON.parse(roots[0].dataset.status) : null;
      lines.set(name, {
        roots, status, verdict: known, verdicts: new Map(), at: Number.isNaN(age) ? null : performance.now() - age * 1000,
        come: 0, shown: 0,
      });
    }
    return lines.get(name);
  }

  function text(root, name, value) {
    for (const element of root.querySelectorAll(`[data-show="${name}"]`)) {
      if (element.textContent !== value) element.textContent = value;
    }
  }

  // A sentence of the service, whose commands stand between backticks.
  function sentence(root, name, words) {
    for (const element of root.querySelectorAll(`[data-show="${name}"]`)) {
      if (element.dataset.words === words) continue;
      element.dataset.words = words;
      element.replaceChildren(
        ...words.split("`").map((part, place) => {
          if (place % 2 === 0) return part;
          const code = document.createElement("code");
          code.textContent = part;
          return code;
        }),
      );
    }
  }

  function score(value) {
    return value === null || value === undefined ? "–" : value.toFixed(3);
  }

  // The same rule as the server's: the state of the line comes before its last verdict.
  function lampOf(one) {
    if (lost) return "lost";
    const state = one.status?.state;
    if (state === "paused" || state === "fault") return state;
    if (["starting", "stopping", "stopped", "offline"].includes(state) || !one.verdict) return "waiting";
    return one.verdict.review ? "review" : one.verdict.verdict;
  }

  function showLamp(one) {
    const kind = lampOf(one);
    for (const root of one.roots) {
      for (const lamp of root.querySelectorAll(".lamp")) {
        if (lamp.dataset.lamp === kind) continue;
        lamp.dataset.lamp = kind;
        lamp.querySelector("use").setAttribute("href", `${lamp.dataset.icons}#${kind}`);
        lamp.querySelector("[data-word]").textContent = words[`lamp_${kind}`] || kind;
      }
    }
  }

  function showAge(one) {
    if (one.at === null) return;
    const seconds = Math.max(0, Math.round((performance.now() - one.at) / 1000));
    const age =
      seconds < 2 ? words.now : seconds < 120 ? words.seconds_ago.replace("{n}", seconds)
      : seconds < 7200 ? words.minutes_ago.replace("{n}", Math.round(seconds / 60))
      : words.hours_ago.replace("{n}", Math.round(seconds / 3600));
    for (const root of one.roots) text(root, "age", age);
  }

  function showStatus(one) {
    for (const root of one.roots) {
      const status = one.status;
      if (!status) continue;
      text(root, "state", words[`state_${status.state}`] || status.state);
      sentence(root, "reason", status.reason || "");
      sentence(root, "remedy", status.remedy || "");
      root.querySelectorAll("[data-when]").forEach((element) => {
        element.hidden = !element.dataset.when.split(" ").includes(status.state);
      });
      text(root, "recipe", status.recipe?.name || "");
      if (status.threshold !== undefined) text(root, "threshold", score(status.threshold));
    }
    showLamp(one);
  }

  function reasonsOf(verdict) {
    if (verdict.error) return [verdict.error.message];
    const found = (verdict.regions || []).map((region) => {
      const place = words[`at_${region.position.replace(" ", "_")}`] || region.position;
      return `${place}: ${region.descriptor || words.unlike} (${score(region.score)})`;
    });
    return found.length ? found : (verdict.explanation || []).map((reason) => reason.text);
  }

  function showVerdict(one, counted = true) {
    const verdict = one.verdict;
    for (const root of one.roots) {
      text(root, "score", score(verdict.score));
      text(root, "threshold", score(verdict.threshold));
      text(root, "seq", String(verdict.seq));
      text(root, "part", verdict.part_id || "");
      for (const meter of root.querySelectorAll(".meter")) {
        const at = verdict.score === null || verdict.score === undefined ? 0 : verdict.score * 100;
        meter.querySelector(".fill").setAttribute("width", at);
        const border = meter.querySelector(".border");
        border.setAttribute("x1", verdict.threshold * 100);
        border.setAttribute("x2", verdict.threshold * 100);
        meter.classList.toggle("over", verdict.verdict === "anomaly");
      }
      for (const list of root.querySelectorAll("[data-reasons]")) {
        const found = reasonsOf(verdict);
        list.replaceChildren(
          ...(found.length ? found : [words.nothing_found]).map((reason) => {
            const item = document.createElement("li");
            item.textContent = reason;
            return item;
          }),
        );
      }
      for (const count of counted ? root.querySelectorAll(`[data-count="${verdict.verdict}"]`) : []) {
        count.textContent = String(Number(count.textContent) + 1);
      }
      root.dispatchEvent(new CustomEvent("verdict", { detail: verdict, bubbles: false }));
      if (verdict.verdict !== "normal" && window.htmx) {
        for (const strip of root.querySelectorAll("[data-on-amiss]")) window.htmx.trigger(strip, "amiss");
      }
    }
    showLamp(one);
    showAge(one);
  }

  function take(message) {
    if (message.kind === "status") {
      setLost(false);
      for (const [name, status] of Object.entries(message.lines || {})) {
        const one = line(name);
        one.status = status;
        showStatus(one);
      }
    } else if (message.kind === "verdict") {
      const one = line(message.verdict.line);
      one.verdict = message.verdict;
      one.at = performance.now();
      one.verdicts.set(message.verdict.seq, message.verdict);
      if (one.verdicts.size > KEPT_VERDICTS) one.verdicts.delete(one.verdicts.keys().next().value);
      showVerdict(one);
    } else if (message.kind === "lost") {
      setLost(true);
    } else if (message.kind === "back") {
      setLost(false);
    }
  }

  // The first picture may be of a part whose verdict came before the page was connected.
  async function missed(one, head) {
    if (head.seq < (one.verdict?.seq ?? 0)) return null;
    const answer = await fetch(`/api/v1/lines/${encodeURIComponent(head.line)}/verdicts/${head.seq}`);
    if (!answer.ok) return null;
    const { verdict } = await answer.json();
    one.verdicts.set(head.seq, verdict);
    if (head.seq > (one.verdict?.seq ?? 0)) {
      one.verdict = verdict;
      one.at = performance.now() - Math.max(0, Date.now() - Date.parse(verdict.issued_at));
      showVerdict(one, false);
    }
    return verdict;
  }

  async function takePicture(buffer) {
    const view = new DataView(buffer);
    const headLength = view.getUint32(0);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, headLength)));
    const one = line(head.line);
    const place = ++one.come; // of the pictures that have come
    const jpegAt = 8 + headLength;
    const jpegLength = view.getUint32(4 + headLength);
    const jpeg = new Blob([new Uint8Array(buffer, jpegAt, jpegLength)], { type: "image/jpeg" });
    const rest = buffer.byteLength - jpegAt - jpegLength;
    const png = rest > 0 ? new Blob([new Uint8Array(buffer, jpegAt + jpegLength, rest)], { type: "image/png" }) : null;
    const [picture, map] = await Promise.all([createImageBitmap(jpeg), png ? createImageBitmap(png) : null]);
    const verdict = one.verdict?.seq === head.seq ? one.verdict : one.verdicts.get(head.seq) || (await missed(one, head));
    if (place < one.shown) return; // one that came later was ready sooner
    one.shown = place;
    for (const root of one.roots) {
      for (const canvas of root.querySelectorAll("canvas[data-live-picture]")) {
        if (canvas.dataset.frozen === "true" || !canvas.overlay) continue;
        canvas.overlay.set(head, picture, map, verdict?.regions);
        canvas.dataset.seq = head.seq;
        canvas.hidden = false;
        const none = canvas.parentElement.querySelector(".none");
        if (none) none.hidden = true;
        text(root, "picture_seq", String(head.seq));
      }
    }
  }

  function setLost(now) {
    if (lost === now) return;
    lost = now;
    document.getElementById("service-lost").hidden = !now;
    for (const one of lines.values()) showLamp(one);
    if (!now && document.body.dataset.rendered === "lost") location.reload(); // it was made without the service
  }

  function setLive(state) {
    const sign = document.getElementById("live");
    sign.dataset.live = state;
    const kind = { on: "ok", connecting: "waiting", off: "lost" }[state];
    sign.dataset.lamp = state === "off" ? "fault" : kind;
    sign.querySelector("use").setAttribute("href", `${sign.dataset.icons}#${kind}`);
    sign.querySelector("span").textContent = words[`live_${state}`];
    document.getElementById("console-lost").hidden = state !== "off";
  }

  // A browser does not say why a connection was refused: without a session every page leads to the login.
  function leaveIfSignedOut() {
    fetch(location.pathname, { method: "HEAD", redirect: "manual" })
      .then((answer) => answer.type === "opaqueredirect" && location.reload())
      .catch(() => {}); // the console itself is away
  }

  function connect() {
    const names = [...new Set([...document.querySelectorAll("[data-line]")].map((root) => root.dataset.line))];
    names.forEach(line);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const own = new WebSocket(`${scheme}://${location.host}/live?lines=${names.map(encodeURIComponent).join(",")}`);
    socket = own;
    own.binaryType = "arraybuffer";
    heard = performance.now();
    own.onmessage = (event) => {
      heard = performance.now();
      retry = FIRST_RETRY_MS;
      setLive("on");
      if (typeof event.data === "string") take(JSON.parse(event.data));
      else takePicture(event.data).catch((error) => console.warn("a picture cannot be shown", error));
    };
    own.onclose = () => {
      if (socket !== own) return;
      socket = null;
      setLive("off");
      leaveIfSignedOut();
      setTimeout(connect, retry);
      retry = Math.min(LONGEST_RETRY_MS, retry * 2);
    };
  }

  document.addEventListener("DOMContentLoaded", () => {
    if (!document.getElementById("live")) return;
    connect();
    setInterval(() => {
      for (const one of lines.values()) showAge(one);
      if (socket && performance.now() - heard > SILENT_MS) {
        const silent = socket;
        socket = null;
        silent.close();
        setLive("off");
        connect();
      }
    }, 1000);
  });
  // A page that the browser keeps for its back button must not hold its connection.
  window.addEventListener("pagehide", () => {
    const open = socket;
    socket = null;
    if (open) open.close();
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
})();
