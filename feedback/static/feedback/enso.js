/* Enso's page snippet: what visitors do with a reply, sent home without cookies. No dependencies; needs no inline script.
 *
 *   <script async src="https://enso.example/enso.js" data-key="pk_…"></script>
 *   <div data-enso-inquiry="order-7">the reply <button data-enso-thumb="up">…</button></div>
 *
 * Sent for each reply: an impression when half of it (or half a screen of it) is in view, the first click on a link or
 * button in it, for how many seconds it was in view of a visible page, the share of it that came into view, and thumbs.
 * Nothing is recorded or stored where the browser asks not to be tracked, or before consent where data-consent="wait".
 */
(function () {
  "use strict";
  var script = document.currentScript;
  var set = script && script.dataset;
  if (!set || !set.key || window.enso) return;

  var url = new URL("feedback?key=" + encodeURIComponent(set.key), script.src).href;
  var prefix = "enso:" + set.key + ":";
  var own = prefix + id(); // each page keeps its own list: pages that are open side by side do not overwrite one another
  var MOST = 200, PER_REQUEST = 50, WEEK = 6048e5;
  var nav = navigator, root = document.documentElement;
  var refused = nav.globalPrivacyControl || nav.doNotTrack == "1" || window.doNotTrack == "1";
  var allowed = !refused && set.consent != "wait";
  var token = set.token;
  var waiting = [], flying = [], replies = [], timer = 0, pause = 0;

  function id() {
    return Array.from(crypto.getRandomValues(new Uint8Array(12)), function (b) { return (b + 256).toString(16).slice(1); }).join("");
  }

  /* ---- the queue: kept until the server has said that it has it ---- */

  function save() {
    var all = flying.concat(waiting);
    try {
      if (all.length && allowed) localStorage.setItem(own, JSON.stringify(all));
      else localStorage.removeItem(own);
    } catch (e) { /* no storage, or full: then what is in memory has to do */ }
  }

  /* What earlier pages could not send. A page that is still open may send it too: the server knows events by their ids. */
  function adopt() {
    try {
      Object.keys(localStorage).forEach(function (name) {
        if (name.indexOf(prefix) || name == own) return;
        var kept = JSON.parse(localStorage.getItem(name) || "[]");
        localStorage.removeItem(name);
        waiting = waiting.concat(kept.filter(function (e) { return Date.now() - e.at < WEEK; }));
      });
    } catch (e) { /* as above */ }
    waiting = waiting.slice(-MOST);
    save();
  }

  function push(type, inquiry, value, text) {
    if (!allowed || !inquiry) return;
    waiting.push({ type: type, inquiry: inquiry, value: value, text: text, event_id: id(), token: token, at: Date.now() });
    waiting = waiting.slice(-MOST);
    save();
    later(1000);
  }

  function later(ms) {
    if (!timer) timer = setTimeout(function () { timer = 0; send(); }, Math.max(ms, pause));
  }

  function send(closing) {
    if (!allowed || !waiting.length || (flying.length && !closing)) return;
    var batch = waiting.splice(0, PER_REQUEST);
    var body = JSON.stringify({ events: batch.map(function (e) {
      return { type: e.type, inquiry: e.inquiry, value: e.value, text: e.text, event_id: e.event_id, token: e.token,
        age: Math.max(Date.now() - e.at, 0) / 1000 };
    }) });
    flying = flying.concat(batch);
    function done(kept, wait) {
      flying = flying.filter(function (e) { return batch.indexOf(e) < 0; });
      if (kept) waiting = batch.concat(waiting).slice(-MOST);
      pause = kept ? Math.min(wait || pause * 2 || 5000, 3e5) : 0;
      save();
      if (waiting.length) later(0);
    }
    /* text/plain is sent without a preflight, keepalive lets it outlive the page. A beacon would do so too, but names no
       origin where the page's Referrer-Policy is no-referrer or same-origin: it is for browsers without keepalive. */
    if ("keepalive" in Request.prototype) {
      fetch(url, { method: "POST", body: body, keepalive: true, credentials: "omit", headers: { "Content-Type": "text/plain" } })
        .then(function (r) { done(r.status == 429 || r.status >= 500, 1000 * r.headers.get("Retry-After")); }, function () { done(true); });
    } else if (nav.sendBeacon(url, new Blob([body], { type: "text/plain" }))) {
      done(!nav.onLine);
    } else done(true);
    if (closing) send(closing);
  }

  /* ---- what visitors do ---- */

  function tick(reply) {
    var now = performance.now(), shown = document.visibilityState == "visible";
    if (reply.since) reply.dwell += now - reply.since;
    reply.since = reply.inView && shown && allowed ? now : 0;
    if (!reply.since) return;
    if (!reply.seen) push("impression", reply.inquiry);
    reply.seen = 1;
    depth(reply);
  }

  function depth(reply) {
    var box = reply.el.getBoundingClientRect();
    var height = reply.el == root ? root.scrollHeight : box.height;
    if (height) reply.depth = Math.max(reply.depth, Math.min((innerHeight - box.top) / height, 1));
  }

  function tell() {
    replies.forEach(function (reply) {
      tick(reply);
      var share = Math.round(reply.depth * 100) / 100;
      if (reply.dwell >= 1000) {
        push("dwell", reply.inquiry, Math.min(Math.round(reply.dwell / 100) / 10, 86400));
        reply.dwell = 0;
      }
      if (reply.seen && share > reply.told) push("scroll", reply.inquiry, reply.told = share);
    });
    send(true);
  }

  var observer = new IntersectionObserver(function (entries) {
    entries.forEach(function (entry) {
      replies.forEach(function (reply) {
        if (reply.el != entry.target) return;
        reply.inView = entry.isIntersecting && (entry.intersectionRatio >= 0.5 || entry.intersectionRect.height * 2 >= innerHeight);
        tick(reply);
      });
    });
  }, { threshold: Array.from({ length: 101 }, function (_, i) { return i / 100; }) });

  function watch(el, inquiry) {
    if (!inquiry || replies.some(function (r) { return r.el == el && r.inquiry == inquiry; })) return;
    var old = replies.find(function (r) { return r.inquiry == inquiry && !r.el.isConnected; });
    if (old) old.el = el; // drawn anew by the page
    else replies.push({ el: el, inquiry: inquiry, dwell: 0, since: 0, depth: 0, told: 0, seen: 0, clicked: 0, inView: false });
    observer.observe(el);
  }

  function scan() {
    if (set.inquiry) watch(root, set.inquiry);
    document.querySelectorAll("[data-enso-inquiry]").forEach(function (el) { watch(el, el.dataset.ensoInquiry); });
  }

  function start() {
    if (!allowed) return;
    adopt();
    scan();
    replies.forEach(tick);
    if (waiting.length) later(0);
  }

  addEventListener("click", function (event) {
    var hit = event.target.closest && event.target.closest("a,button,input,summary,[data-enso-click],[data-enso-thumb]");
    if (!hit) return;
    replies.forEach(function (reply) {
      if (!reply.el.contains(hit)) return;
      if (hit.dataset.ensoThumb) push("thumbs", reply.inquiry, hit.dataset.ensoThumb);
      else if (!reply.clicked && (reply.clicked = 1)) push("click", reply.inquiry);
    });
  }, true);
  addEventListener("scroll", function () {
    replies.forEach(function (reply) { if (reply.since) depth(reply); });
  }, { capture: true, passive: true });
  document.addEventListener("visibilitychange", function () {
    if (document.visibilityState == "hidden") tell();
    else replies.forEach(tick);
  });
  addEventListener("pagehide", tell);
  addEventListener("online", function () { pause = 0; send(); });
  new MutationObserver(scan).observe(document, { childList: true, subtree: true });

  window.enso = {
    /** A thumb ("up" or "down") for a reply. */
    thumbs: function (inquiry, value) { push("thumbs", inquiry, value); },
    /** Any other kind: enso.send("rating", "order-7", 5), enso.send("comment", "order-7", undefined, "Thank you"). */
    send: push,
    /** The signed customer token, for pages that get it after they were loaded. */
    customer: function (signed) { token = signed; },
    /** The visitor's choice; false also throws away what was not sent yet. */
    consent: function (yes) {
      if (allowed = !!yes && !refused) return start();
      waiting = [];
      replies.forEach(function (reply) { reply.dwell = reply.since = 0; });
      adopt();
      waiting = [];
      save();
    }
  };
  start();
})();
