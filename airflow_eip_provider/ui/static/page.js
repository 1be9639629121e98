// Applies Airflow's theme, and refreshes the page every few seconds. Without this script the page works, but does not refresh.
"use strict";
(() => {
  const stored = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };
  const theme = stored("theme"); // Airflow 3: light, dark or system
  if (theme === "light" || theme === "dark") {
    document.documentElement.dataset.theme = theme;
  }
  // Airflow 3.0 keeps its token here instead of in a cookie, so the browser does not send it automatically.
  const token = stored("token");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};

  const refresh = async () => {
    const answer = await fetch(location.href.split("#")[0], { headers, cache: "no-store" });
    if (answer.status === 401 && document.body.dataset.signedOut) {
      return;
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const open = [...document.querySelectorAll("details[open]")].map((part) => part.id);
    document.body.dataset.refreshSeconds = fresh.body.dataset.refreshSeconds || "";
    if (answer.status !== 401) {
      delete document.body.dataset.signedOut;
    }
    document.querySelector("header").replaceWith(fresh.querySelector("header"));
    document.querySelector("main").replaceWith(fresh.querySelector("main"));
    for (const id of open) {
      const part = document.getElementById(id);
      if (part) {
        part.open = true;
      }
    }
  };

  // Do not refresh while the user reads a tooltip, selects text, or navigates by keyboard.
  const busy = () =>
    document.hidden ||
    document.querySelector("main :focus-visible, svg rect:hover") !== null ||
    !document.getSelection().isCollapsed;

  const again = async () => {
    const seconds = Number(document.body.dataset.refreshSeconds);
    if (!seconds) {
      return;
    }
    if (!busy()) {
      await refresh().catch(() => {}); // the next one may succeed; "As of" shows the age
    }
    setTimeout(again, seconds * 1000);
  };

  if (document.body.dataset.signedOut) {
    if (token) {
      refresh().then(() => setTimeout(again, 5000), () => {});
    }
  } else {
    setTimeout(again, Number(document.body.dataset.refreshSeconds) * 1000);
  }
})();
