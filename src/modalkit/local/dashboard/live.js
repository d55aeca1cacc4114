"use strict";
const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// What changes by itself is fetched again with the whole page and put in place where it differs.
async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { "X-Live": "1" } });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    all("[data-live]").forEach((old) => {
      const found = $(`[data-live="${old.dataset.live}"]`, fresh);
      if (!found || old.innerHTML === found.innerHTML) return;
      all("details[open]", old).forEach((open) => {
        $(`details[data-key="${open.dataset.key}"]`, found)?.setAttribute("open", "");
      });
      const focused = old.contains(document.activeElement) && document.activeElement.id;
      old.innerHTML = found.innerHTML;
      if (focused) document.getElementById(focused)?.focus();
    });
    document.body.classList.remove("stale");
  } catch {
    document.body.classList.add("stale");
  }
}
if ($("[data-live]")) setInterval(refresh, 1500);

function toast(text) {
  all(".toast").forEach((old) => old.remove());
  const box = document.createElement("div");
  box.className = "toast";
  box.setAttribute("role", "status");
  box.textContent = text;
  document.body.append(box);
  setTimeout(() => box.remove(), 5000);
}

async function send(path, body) {
  const answer = await fetch(path, {
    method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  });
  return answer.json();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-action]");
  if (!button) return;
  if (button.dataset.ask && !confirm(button.dataset.ask)) return;
  button.disabled = true;
  const told = await send(button.dataset.action, { ...button.dataset }).catch((error) => ({ error: `${error}` }));
  button.disabled = false;
  toast(told.error || told.done);
  refresh();
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form.try");
  if (!form) return;
  event.preventDefault();
  const button = $("button", form), place = $(".answer", form), data = new FormData(form);
  button.disabled = true;
  const told = await send("/actions/try", Object.fromEntries(data)).catch((error) => ({ error: `${error}` }));
  button.disabled = false;
  place.hidden = false;
  const head = document.createElement("header"), body = document.createElement("pre");
  head.textContent = told.error ? "No answer" : `${told.status} in ${told.took} · ${told.kind || "no content type"} · ${told.size} bytes`;
  body.textContent = told.error || told.body;
  place.replaceChildren(head, body);
});

all(".log[data-url]").forEach((log) => {
  const card = log.closest(".card"), filter = $("[data-filter]", card), follow = $("[data-follow]", card);
  const shows = (line) => !filter.value || line.textContent.toLowerCase().includes(filter.value.toLowerCase());
  const down = () => { if (follow.checked) log.scrollTop = log.scrollHeight; };
  const span = (kind, text) => Object.assign(document.createElement(kind === "time" ? "time" : "span"), { className: kind, textContent: text });
  filter.addEventListener("input", () => { [...log.children].forEach((line) => { line.hidden = !shows(line); }); down(); });
  follow.addEventListener("change", down);
  const source = new EventSource(log.dataset.url);
  source.onopen = () => log.replaceChildren(span("none", ""));
  source.onmessage = (event) => {
    const told = JSON.parse(event.data), line = document.createElement("div");
    line.append(span("time", new Date(told.at * 1000).toLocaleTimeString([], { hour12: false })));
    if ("names" in log.dataset) line.append(span("src", told.app));
    line.append(span(told.kind, told.text));
    line.hidden = !shows(line);
    log.append(line);
    while (log.childElementCount > 5000) log.firstChild.remove();
    down();
  };
});
