"use strict";
// Small things that a page does by itself; all of it works without, too.
(() => {
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-freeze]")) {
      button.addEventListener("click", () => {
        const canvas = document.getElementById(button.dataset.freeze);
        const frozen = canvas.dataset.frozen !== "true";
        canvas.dataset.frozen = String(frozen);
        button.setAttribute("aria-pressed", String(frozen));
      });
      button.hidden = false;
    }
    // A slider and a number that say the same.
    for (const follower of document.querySelectorAll("[data-same-as]")) {
      const leader = document.getElementById(follower.dataset.sameAs);
      follower.addEventListener("input", () => {
        leader.value = follower.value;
        leader.dispatchEvent(new Event("input", { bubbles: true }));
      });
      leader.addEventListener("input", (event) => {
        if (event.isTrusted) follower.value = leader.value;
      });
    }
    for (const select of document.querySelectorAll("select[data-at-once]")) {
      select.addEventListener("change", () => select.form.requestSubmit());
    }
  });

  // A form is sent once. htmx says itself when it has its answer.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method === "get" || form.hasAttribute("hx-post")) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "true";
    const wait = form.querySelector("[data-wait]");
    if (wait) wait.hidden = false;
    setTimeout(() => delete form.dataset.sent, 10000);
  });

  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, () => {
      document.getElementById("not-done").hidden = false;
    });
  }
  // Whoever has been signed out meanwhile is shown the whole page to sign in, and not a part of it.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (new URL(event.detail.xhr.responseURL).pathname !== "/login") return;
    event.detail.shouldSwap = false;
    location.reload();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) document.getElementById("not-done").hidden = true;
  });
})();
