// A slider tells the server of a new value when the pointer lets go of it. The same, for keyboard and typing:
// arrow keys on the slider, Enter or leaving its number box; an emptied box gets its last value back, one that is too
// high or too low the nearest.
(() => {
  const release = (input) => setTimeout(() => input.dispatchEvent(new PointerEvent("pointerup", { bubbles: true })), 50);
  const boxes = '.block:has(input[type="range"]) input[type="number"]';
  const last = new WeakMap();
  document.addEventListener("focusin", ({ target }) => target.matches(boxes) && last.set(target, target.value));
  document.addEventListener("keyup", ({ target, key }) => {
    if (target.matches('input[type="range"]') && /^(Arrow|Page|Home|End)/.test(key)) release(target);
    if (target.matches(boxes) && key === "Enter") target.blur();
  });
  const leave = ({ target }) => {
    if (!target.matches?.(boxes) || target.value === last.get(target)) return;
    const kept = target.value === "" ? Number(last.get(target)) : Number(target.value);
    target.value = Math.min(Math.max(kept, Number(target.min)), Number(target.max));
    target.dispatchEvent(new Event("input", { bubbles: true }));
    release(target);
  };
  document.addEventListener("blur", leave, true); // before the box itself, which would take nothing for 0
})();

// Values that the script has for the server go through hidden text boxes.
const tell = (id, text) => {
  const box = document.querySelector(`#${id} input, #${id} textarea`);
  box.value = text;
  box.dispatchEvent(new Event("input", { bubbles: true }));
};

// A dropdown reports a choice twice: when it is made, and when the dropdown loses the focus. A data set is opened once.
(() => {
  let last = { key: "", at: 0 };
  window.pick = (key) => {
    const now = Date.now();
    if (key !== last.key || now > last.at + 1000) tell("picked", String(now));
    last = { key, at: now };
  };
})();

// What the server tells after each list: the address that brings it back, and the checkpoint's values of the controls.
// A tab that the address names is opened then. Each control says that value, is marked where it differs, and has a button that brings it back.
(() => {
  const kept = (key) => key === "view" || key === "__theme" || /^[bc]-/.test(key);
  const write = (query) => history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  let trained = {};
  const setAddress = (text) => {
    const [now, next] = [new URLSearchParams(location.search), new URLSearchParams(text)];
    for (const [key, value] of now) if (kept(key)) next.set(key, value);
    write(next);
  };
  // What Compare puts beside the page: sides B and C.
  window.setSide = (text) => {
    const next = new URLSearchParams(location.search);
    for (const key of [...next.keys()]) if (/^[bc]-/.test(key)) next.delete(key);
    for (const [key, value] of new URLSearchParams(text)) next.set(key, value);
    write(next);
  };
  const input = (name) => document.querySelector(`#${name} input[type="range"], #${name} input[type="checkbox"]`);
  const value = (input) => (input.type === "checkbox" ? input.checked : Number(input.value));
  const said = (value) => (typeof value === "boolean" ? (value ? "on" : "off") : value);
  const bringBack = (name) => {
    const control = input(name);
    if (control.type === "checkbox") return control.click();
    control.value = trained[name];
    control.dispatchEvent(new Event("input", { bubbles: true }));
    control.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
  };
  const mark = () => {
    for (const [name, usual] of Object.entries(trained)) {
      const control = input(name);
      if (!control) continue;
      const block = document.getElementById(name);
      let button = block.querySelector("button.trained");
      if (!button) {
        button = document.createElement("button");
        button.type = "button";
        button.className = "trained";
        button.addEventListener("click", () => bringBack(name));
        block.append(button);
      }
      const moved = value(control) !== usual;
      button.textContent = moved ? `back to ${said(usual)}` : `checkpoint: ${said(usual)}`;
      button.disabled = !moved;
      block.classList.toggle("moved", moved);
    }
    const moved = document.querySelectorAll("#controls .block.moved").length;
    document.getElementById("sheet").textContent = moved ? `Controls · ${moved} changed` : "Controls";
  };
  let first = true;
  window.setPage = (text) => {
    const told = JSON.parse(text);
    trained = told.trained;
    setAddress(told.address);
    setTimeout(mark, 100); // the controls may still be on their way to new values
    const view = new URLSearchParams(location.search).get("view");
    if (first && view) openTab(view);
    if (first) window.inviteToTour();
    first = false;
  };
  document.addEventListener("input", mark);
  document.addEventListener("change", mark);

  const named = (name, where) => [...document.querySelectorAll(where)].find((tab) => tab.textContent.trim() === name);
  window.openTab = (name) => {
    const tab = named(name, '.tab-container:not(.visually-hidden) button[role="tab"]');
    if (tab) return tab.click();
    document.querySelector(".overflow-menu > button")?.click(); // where not all tabs fit
    setTimeout(() => named(name, ".overflow-dropdown button")?.click(), 50);
  };
  document.addEventListener("click", ({ target }) => {
    const tab = target.closest('button[role="tab"], .overflow-dropdown button');
    if (!tab) return;
    const query = new URLSearchParams(location.search);
    query.set("view", tab.textContent.trim());
    write(query);
    document.documentElement.dataset.view = query.get("view");
    tell("view-name", query.get("view")); // what can be seen
    setTimeout(() => window.dispatchEvent(new Event("resize")), 100); // plots drawn in a hidden tab took any width
  });
})();

// On a narrow screen the controls wait at its foot, and open over what they change.
document.addEventListener("click", ({ target }) => {
  const handle = document.getElementById("sheet");
  if (!handle) return;
  const opened = target === handle ? !document.querySelector("#controls.opened") : Boolean(target.closest("#controls"));
  document.getElementById("controls").classList.toggle("opened", opened);
  handle.setAttribute("aria-expanded", opened);
});

// Gradio puts a plot that changes in the place of the old one. What was zoomed into stays, for the same model.
(() => {
  const zooms = new Map();
  const watch = (plot) => {
    const key = plot.closest("[id]").id + new URLSearchParams(location.search).get("model");
    plot.dataset.watched = "";
    if (zooms.has(key)) window.Plotly.relayout(plot, zooms.get(key));
    plot.on("plotly_relayout", (change) => {
      if (Object.keys(change).some((name) => name.endsWith(".autorange"))) zooms.delete(key);
      const ranges = Object.entries(change).filter(([name]) => name.includes(".range"));
      if (ranges.length) zooms.set(key, { ...zooms.get(key), ...Object.fromEntries(ranges) });
    });
  };
  new MutationObserver(() => {
    for (const plot of document.querySelectorAll(".js-plotly-plot:not([data-watched])")) if (plot.on) watch(plot);
  }).observe(document.documentElement, { childList: true, subtree: true });
})();

// What is taken along leaves no file on the server.
window.saveText = (text, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
};
window.copyText = async (text, said) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // no clipboard without https, nor long after the click: shown instead, to be copied by hand
    const dialog = document.createElement("dialog");
    dialog.className = "by-hand";
    dialog.innerHTML =
      '<form method="dialog"><textarea readonly rows="14" aria-label="To copy"></textarea><button>Close</button></form>';
    const box = dialog.querySelector("textarea");
    box.value = text;
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    box.select();
    return;
  }
  const note = document.createElement("div");
  note.className = "note";
  note.setAttribute("role", "status");
  note.textContent = said;
  document.body.append(note);
  setTimeout(() => note.remove(), 3000);
};

// The tour: offered on the first visit, and there for whoever asks for it. window.tour holds its steps.
(() => {
  const seen = "sdiff-tour";
  const start = () => {
    localStorage.setItem(seen, "1");
    document.getElementById("invitation")?.remove();
    window.openTab("Recommend");
    const steps = window.tour.map(({ element, ...popover }) => ({ element, popover }));
    const tour = window.driver.js.driver({ showProgress: true, steps, popoverClass: "tour", overlayOpacity: 0.5 });
    setTimeout(() => tour.drive(), 300);
  };
  document.addEventListener("click", ({ target }) => {
    if (target.id === "start-tour" || target.id === "accept-tour") start();
    if (target.id === "decline-tour") {
      localStorage.setItem(seen, "1");
      document.getElementById("invitation").remove();
    }
  });
  window.inviteToTour = () => {
    if (localStorage.getItem(seen) || document.getElementById("invitation")) return;
    const invitation = document.createElement("aside");
    invitation.id = "invitation";
    invitation.setAttribute("aria-label", "Tour");
    invitation.innerHTML =
      'New here? <button type="button" id="accept-tour">One minute’s tour</button>' +
      '<button type="button" id="decline-tour">No, thanks</button>';
    document.querySelector(".gradio-container .contain").append(invitation); // where narrow screens have their style
  };
})();
