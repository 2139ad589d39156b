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

// A dropdown reports a choice twice: when it is made, and whenever the dropdown loses the focus. A data set is opened
// once, and not again if it is the open one, which the address names.
(() => {
  let last = { key: "", at: 0 };
  window.pick = (key) => {
    if (key === new URLSearchParams(location.search).get("dataset")) return;
    const now = Date.now();
    if (key !== last.key || now > last.at + 1000) tell("picked", String(now));
    last = { key, at: now };
  };
})();

// What the server tells after each list: the address that brings it back, and the checkpoint's values of the controls.
// A tab that the address names is opened then. Each control says that value, is marked where it differs, and has a button that brings it back.
(() => {
  const kept = (key) => ["view", "frame", "map", "__theme"].includes(key) || /^[bc]-/.test(key);
  const write = (query, visited = false) =>
    history[visited ? "pushState" : "replaceState"](null, "", query.size ? `?${query}` : location.pathname);
  addEventListener("popstate", () => location.reload()); // an address brings back what it named
  let trained = {};
  let idle = {};
  // What Compare puts beside the page: sides B and C, which belong to one data set.
  const sides = new Map();
  const putSides = (query, text, visited = false) => {
    for (const key of [...query.keys()]) if (/^[bc]-/.test(key)) query.delete(key);
    for (const [key, value] of new URLSearchParams(text)) query.set(key, value);
    write(query, visited);
  };
  window.setSide = (text) => {
    const query = new URLSearchParams(location.search);
    sides.set(query.get("dataset"), text);
    putSides(query, text);
  };
  const setAddress = (text) => {
    const [now, next] = [new URLSearchParams(location.search), new URLSearchParams(text)];
    for (const [key, value] of now) if (kept(key)) next.set(key, value);
    const [former, dataset] = [now.get("dataset"), next.get("dataset")];
    // Back goes to the former data set, model or user. Controls move too often to be kept.
    const visited = !first && former && ["dataset", "model", "user"].some((key) => now.get(key) !== next.get(key));
    former && former !== dataset ? putSides(next, sides.get(dataset), visited) : write(next, visited);
  };
  // A slider, or the box of the seed.
  const input = (name) =>
    document.querySelector(`#${name} input[type="range"]`) ?? document.querySelector(`#${name} input`);
  const bringBack = (name) => {
    const control = input(name);
    control.value = trained[name];
    control.dispatchEvent(new Event("input", { bubbles: true }));
    control.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
    if (control.type === "number") setTimeout(() => control.dispatchEvent(new Event("blur", { bubbles: true })), 100);
  };
  const mark = () => {
    const address = new URLSearchParams(location.search);
    let changed = 0;
    for (const [name, usual] of Object.entries(trained)) {
      const control = input(name);
      if (!control) {
        changed += address.has(name); // in the part that is folded away, and not built before it is opened
        continue;
      }
      const block = document.getElementById(name);
      let button = block.querySelector("button.trained");
      if (!button) {
        button = document.createElement("button");
        button.type = "button";
        button.className = "trained";
        button.addEventListener("click", () => bringBack(name));
        block.append(button);
      }
      const moved = Number(control.value) !== usual;
      changed += moved;
      button.textContent = idle[name] ?? (moved ? `back to ${usual}` : `model: ${usual}`);
      button.disabled = !moved;
      block.classList.toggle("moved", moved);
      block.classList.toggle("idle", name in idle);
      for (const part of block.querySelectorAll("input")) part.disabled = name in idle;
      if (window.sources[name]) block.title = window.sources[name];
    }
    document.getElementById("sheet").textContent = changed ? `Controls · ${changed} changed` : "Controls";
  };
  // Gradio builds a control that was folded away in several steps, and may enable it again.
  const isUnmarked = (name) => {
    const parts = [...document.querySelectorAll(`#${name} input`)];
    const marked = document.querySelector(`#${name} button.trained`);
    return parts.length && (!marked || parts.some((part) => part.disabled !== (name in idle)));
  };
  new MutationObserver(() => Object.keys(trained).some(isUnmarked) && mark()).observe(document.documentElement, {
    childList: true,
    subtree: true,
    attributeFilter: ["disabled"],
  });
  let first = true;
  // The page comes with the first list. An address that asks for another one replaces it.
  const own = () => window.queryKeys.some((key) => new URLSearchParams(location.search).has(key));
  if (own()) document.documentElement.classList.add("restoring");
  document.addEventListener("click", ({ target }) => {
    if (target.id === "cancel-opening") document.documentElement.classList.remove("restoring");
  });
  window.setFirstPage = (text) => {
    if (!own()) window.setPage(text);
  };
  window.setPage = (text) => {
    if (!text) return; // emptied: the next list is on its way
    document.documentElement.classList.remove("restoring");
    const state = JSON.parse(text);
    [trained, idle] = [state.trained, state.idle];
    document.getElementById("shelves")?.classList.remove("taking");
    showCards();
    setAddress(state.address);
    setTimeout(mark, 100); // the controls may still be on their way to new values
    const view = new URLSearchParams(location.search).get("view");
    if (first && view) for (const delay of [0, 400, 1500]) setTimeout(openTabUnlessOpen, delay, view);
    if (first) window.inviteToTour();
    first = false;
  };
  document.addEventListener("input", mark);
  document.addEventListener("change", mark);

  const tabs = () => [...document.querySelectorAll('#views button[role="tab"]')];
  window.openTab = (view) => {
    const name = view === "Spectrum" ? "Diffusion" : view; // its former name, in old links
    tabs().find((tab) => tab.textContent.trim() === name)?.click();
  };
  // The first list comes with the page, perhaps before its tabs can be clicked.
  const openTabUnlessOpen = (view) => {
    const open = tabs().find((tab) => tab.ariaSelected === "true");
    if (open?.textContent.trim() === "Recommend") window.openTab(view);
  };
  document.addEventListener("click", ({ target }) => {
    const tab = target.closest('button[role="tab"]');
    if (!tab) return;
    tab.scrollIntoView({ block: "nearest", inline: "center" }); // in a strip that is too narrow
    const query = new URLSearchParams(location.search);
    query.set("view", tab.textContent.trim());
    write(query);
    document.documentElement.dataset.view = query.get("view");
    tell("view-name", query.get("view")); // what can be seen
    setTimeout(() => window.dispatchEvent(new Event("resize")), 100); // plots drawn in a hidden tab took any width
  });
  document.addEventListener("click", ({ target }) => {
    if (!target.dataset?.view) return;
    window.openTab(target.dataset.view);
    if ("play" in target.dataset) scrubber() ? play() : (playFrom = Date.now());
  });

  // The film of the diffusion: one frame is shown, in its lists and in its plot. The address keeps it.
  let playing = 0;
  let playFrom = 0; // when a film was asked for that had not come yet
  const scrubber = () => document.getElementById("frame");
  window.showFrame = () => {
    const control = scrubber();
    if (!control) return;
    if (Date.now() - playFrom < 15000) return play();
    const asked = new URLSearchParams(location.search).get("frame");
    control.value = asked ?? control.max;
    for (const section of document.querySelectorAll("#film [data-frame]"))
      section.hidden = section.dataset.frame !== control.value;
    const plot = document.querySelector("#film-energy .js-plotly-plot");
    if (!plot?.data) return;
    const visible = plot.data.map(({ meta }) => meta === undefined || String(meta) === control.value);
    if (plot.data.some(({ visible: now }, i) => (now ?? true) !== visible[i])) window.Plotly.restyle(plot, { visible });
  };
  const goTo = (frame) => {
    const query = new URLSearchParams(location.search);
    if (String(frame) === scrubber().max) query.delete("frame");
    else query.set("frame", frame);
    write(query);
    window.showFrame();
  };
  const stop = () => {
    clearInterval(playing);
    playing = 0;
    const button = document.getElementById("play");
    if (button) button.textContent = "Play";
  };
  const play = () => {
    playFrom = 0;
    clearInterval(playing);
    goTo(0);
    document.getElementById("play").textContent = "Pause";
    playing = setInterval(() => {
      const control = scrubber();
      if (!control || control.value === control.max) return stop();
      goTo(Number(control.value) + 1);
    }, 1200);
  };
  document.addEventListener("input", ({ target }) => {
    if (target.id !== "frame") return;
    stop();
    goTo(target.value);
  });
  document.addEventListener("click", ({ target }) => {
    if (target.id === "play") playing ? stop() : play();
  });

  // A wave or an item that was clicked in a plot, or an item's title.
  window.pickWave = (number) => {
    window.openTab("Waves");
    if (document.querySelector("#wave-x input")) setWaves({ x: number });
    else linked = `${number},${linked?.split(",")[1] ?? 3}`; // the tab is built only now
    document.getElementById("map")?.scrollIntoView({ block: "center", behavior: "smooth" });
  };
  window.pickItem = (id) => tell("picked-item", `${id} ${Date.now()}`);
  document.addEventListener("click", ({ target }) => {
    const title = target.closest?.("[data-open]");
    if (title) window.pickItem(title.dataset.open);
  });

  // The map of the items comes once for two waves; what is marked on it comes with each list.
  // The address keeps its waves.
  let marks;
  let linked = new URLSearchParams(location.search).get("map");
  const setWaves = (numbers) => {
    for (const [axis, number] of Object.entries(numbers)) {
      const box = document.querySelector(`#wave-${axis} input`);
      box.value = number;
      box.dispatchEvent(new Event("input", { bubbles: true }));
      setTimeout(() => box.dispatchEvent(new Event("blur", { bubbles: true })), 100);
    }
  };
  window.tellMarks = (text) => {
    marks = JSON.parse(text);
    const query = new URLSearchParams(location.search);
    query.set("map", marks.waves);
    if (linked && linked !== query.get("map")) {
      const [x, y] = linked.split(",");
      setWaves({ x, y });
    } else write(query);
    linked = "";
    markMap();
  };
  const markMap = () => {
    const plot = document.querySelector("#map .js-plotly-plot");
    if (!plot?.places || !marks) return;
    const marked = [marks.list, marks.history].map((ids) => ids.map((id) => plot.places.get(id)).filter(Boolean));
    const columns = ["ids", "x", "y", "text"].map((name, i) => [name, marked.map((points) => points.map((p) => p[i]))]);
    const n = plot.data.length;
    window.Plotly.restyle(plot, Object.fromEntries(columns), [n - 2, n - 1]);
  };
  // Where each item stands on a map that was just drawn.
  window.rememberPlaces = (plot) => {
    const points = ({ ids, x, y, text }) => Array.from(ids ?? [], (id, i) => [id, [id, x[i], y[i], text[i]]]);
    plot.places = new Map(plot._fullData.flatMap(points));
    markMap();
  };

  // A filter that was clicked in a list.
  document.addEventListener("click", ({ target }) => {
    const chip = target.closest?.("[data-unfilter]");
    if (chip) tell("unwanted-filter", `${chip.dataset.unfilter} ${Date.now()}`);
  });

  // Why an item is listed: below its row, until it is clicked again.
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#recommended td > button[data-item]");
    if (!button) return;
    const row = button.closest("tr");
    const open = row.nextElementSibling?.matches(".why");
    for (const other of document.querySelectorAll("#recommended tr.why")) other.remove();
    if (open) event.stopPropagation();
  }, true);
  window.showWhy = () => {
    const of = document.querySelector("#why [data-of]");
    const buttons = [...document.querySelectorAll("#recommended td > button[data-item]")];
    const asked = buttons.find((button) => button.dataset.item === of?.dataset.of)?.closest("tr");
    if (!asked) return; // there is no answer, or another list by now
    for (const other of document.querySelectorAll("#recommended tr.why")) other.remove();
    const row = document.createElement("tr");
    row.className = "why";
    const cell = row.insertCell();
    cell.colSpan = asked.cells.length;
    cell.append(...of.parentElement.cloneNode(true).childNodes);
    asked.after(row);
  };

  // The page of an item, as a dialog.
  window.showItem = () => {
    let dialog = document.getElementById("item-dialog");
    const block = document.getElementById("item");
    if (!block.querySelector("h2")) return; // refused
    if (!dialog) {
      dialog = document.createElement("dialog");
      dialog.id = "item-dialog";
      dialog.innerHTML = '<button type="button" class="close" aria-label="Close">×</button>';
      document.querySelector(".gradio-container .contain").append(dialog); // outside of the tabs, which may be hidden
      dialog.append(block);
      dialog.addEventListener("click", ({ target }) => {
        if (target === dialog || target.closest(".close, [data-item]")) dialog.close();
      });
    }
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  };

  // A film is taken at a time: a second click would not know of the first.
  document.addEventListener("click", ({ target }) => {
    const shelves = document.getElementById("shelves");
    if (!shelves?.contains(target) || !target.closest("[data-item]")) return;
    shelves.classList.add("taking");
    setTimeout(() => shelves.classList.remove("taking"), 5000);
  });

  // Recommendations as a list or as cards.
  const cards = "sdiff-cards";
  const showCards = () =>
    document.getElementById("lists").classList.toggle("cards", localStorage.getItem(cards) === "1");
  document.addEventListener("click", ({ target }) => {
    if (!target.closest?.("#cards-switch")) return;
    localStorage.setItem(cards, localStorage.getItem(cards) === "1" ? "0" : "1");
    showCards();
  });
})();

// On a narrow screen the controls wait at its foot. They open over its lower half, and what they change stays above.
(() => {
  const CHANGED = { Recommend: "#recommended", Diffusion: "#film", Waves: "#carried", Compare: "#both" };
  document.addEventListener("click", ({ target }) => {
    const handle = document.getElementById("sheet");
    if (!handle) return;
    const controls = document.getElementById("controls");
    const opened = target === handle ? !controls.matches(".opened") : Boolean(target.closest("#controls"));
    controls.classList.toggle("opened", opened);
    handle.setAttribute("aria-expanded", opened);
    if (!opened || target !== handle) return;
    const changed = document.querySelector(CHANGED[document.documentElement.dataset.view ?? "Recommend"]);
    const middle = (innerHeight - controls.offsetHeight) / 2;
    const { top, bottom } = changed.getBoundingClientRect();
    if (top > middle || bottom < middle) changed.scrollIntoView({ block: "start", behavior: "smooth" });
  });
})();

// Gradio puts a plot that changes in the place of the old one. What was zoomed into stays, for the same model.
(() => {
  const zooms = new Map();
  const watch = (plot) => {
    const key = plot.closest("[id]").id + new URLSearchParams(location.search).get("model");
    plot.dataset.watched = "";
    if (zooms.has(key)) window.Plotly.relayout(plot, zooms.get(key));
    if (plot.closest("#film-energy")) window.showFrame();
    if (plot.closest("#map")) window.rememberPlaces(plot);
    const picks = plot.layout.meta?.click;
    if (picks)
      plot.on("plotly_click", ({ points: [point] }) => {
        if (picks === "item") window.pickItem(point.id);
        else window.pickWave(Math.round(point.data.type === "heatmap" ? point.y : point.x));
      });
    plot.on("plotly_relayout", (change) => {
      if (Object.keys(change).some((name) => name.endsWith(".autorange"))) zooms.delete(key);
      const ranges = Object.entries(change).filter(([name]) => name.includes(".range"));
      if (ranges.length) zooms.set(key, { ...zooms.get(key), ...Object.fromEntries(ranges) });
    });
  };
  new MutationObserver(() => {
    for (const plot of document.querySelectorAll(".block .js-plotly-plot:not([data-watched])")) if (plot.on) watch(plot);
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
window.copyText = async (text, message) => {
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
  note.textContent = message;
  document.body.append(note);
  setTimeout(() => note.remove(), 3000);
};

// The tour: offered on the first visit, and started by a button at any time. window.tour holds its steps.
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
      'New here? <button type="button" id="accept-tour">One-minute tour</button>' +
      '<button type="button" id="decline-tour">No, thanks</button>';
    document.querySelector(".gradio-container .contain").append(invitation); // where narrow screens have their style
  };
})();

// Clocks count here, up or down, because the server sends nothing while it computes.
setInterval(() => {
  for (const clock of document.querySelectorAll("time[data-seconds]")) {
    const { seconds, down } = clock.dataset;
    if (clock.from?.seconds !== seconds) clock.from = { seconds, at: performance.now() };
    const passed = (performance.now() - clock.from.at) / 1000;
    const now = Math.round(Math.max(0, Number(seconds) + (down === undefined ? passed : -passed)));
    clock.textContent = now < 60 ? `${now} s` : `${Math.floor(now / 60)} min ${now % 60} s`;
  }
}, 1000);

// Every plot can be saved: as a picture on white, whatever the theme, or as the data that it shows. The files have the
// name of the plot: its label, or else its id.
(() => {
  const FORMATS = ["PNG", "SVG", "CSV"];
  const nameOf = (block) => {
    const label = block.querySelector(':scope > [data-testid="block-label"]')?.textContent.trim();
    return label && label !== "Plot" ? label : block.id.replaceAll("-", " ");
  };
  const fileOf = (block) => nameOf(block).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");

  // As in sdiff/serving/export.py: an apostrophe before texts that a spreadsheet would evaluate.
  const cell = (value) => {
    const text = String(value ?? "");
    const safe = /^[=+@\t\r-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  // The title of a panel is an annotation above it.
  const panelOf = ({ xaxis = "x", yaxis = "y" }, layout) => {
    const [across, up] = [xaxis, yaxis].map((id) => layout[`${id[0]}axis${id.slice(1)}`].domain);
    const isAbove = ({ xref, x, y }) => xref === "paper" && across[0] <= x && x <= across[1] && Math.abs(y - up[1]) < 0.01;
    return layout.annotations?.find(isAbove)?.text;
  };
  const pointsOf = ({ x, y, z, text, hovertext }) => {
    if (typeof z?.[0] === "object")
      return Array.from(z, (row, j) => Array.from(row, (z, i) => ({ x: x?.[i] ?? i, y: y?.[j] ?? j, z }))).flat();
    const texts = [hovertext, text].find(Array.isArray);
    const n = Math.max(x?.length ?? 0, y?.length ?? 0);
    return Array.from({ length: n }, (_, i) => ({ x: x?.[i] ?? i, y: y?.[i] ?? i, z: z?.[i], text: texts?.[i] }));
  };
  // One row for each point. Columns have the titles of the axes, where all panels have the same.
  const csvOf = ({ layout, _fullData: traces, _fullLayout: full }) => {
    const rows = traces.flatMap((trace) =>
      pointsOf(trace).map((point) => ({ panel: panelOf(trace, full), series: trace.name, ...point })),
    );
    const titleOf = (letter) => {
      const axes = Object.keys(layout).filter((key) => key.startsWith(`${letter}axis`));
      const titles = new Set(axes.map((key) => layout[key].title?.text).filter(Boolean));
      return titles.size === 1 ? [...titles][0] : letter;
    };
    const heads = { panel: "panel", series: "series", x: titleOf("x"), y: titleOf("y"), z: "value", text: "text" };
    const keys = Object.keys(heads).filter((key) => rows.some((row) => row[key] !== undefined));
    const lines = [keys.map((key) => heads[key]), ...rows.map((row) => keys.map((key) => row[key]))];
    return lines.map((line) => `${line.map(cell).join(",")}\n`).join("");
  };
  const save = async (block, format) => {
    const plot = block.querySelector(".js-plotly-plot");
    const file = `${fileOf(block)}.${format}`;
    if (format === "csv") return window.saveText(csvOf(plot), file);
    const { data, layout, clientWidth: width, clientHeight: height } = plot;
    const figure = structuredClone({ data, layout: { ...layout, paper_bgcolor: "#fff" } });
    const link = document.createElement("a");
    link.href = await window.Plotly.toImage(figure, { format, width, height, scale: format === "png" ? 2 : 1 });
    link.download = file;
    link.click();
  };
  const offer = (block) => {
    const group = document.createElement("div");
    group.className = "exports";
    group.setAttribute("role", "group");
    for (const format of FORMATS) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = format;
      button.addEventListener("click", () => save(block, format.toLowerCase()));
      group.append(button);
    }
    block.append(group);
    return group;
  };
  new MutationObserver(() => {
    for (const plot of document.querySelectorAll(".block .js-plotly-plot")) {
      const block = plot.closest(".block");
      const group = block.querySelector(":scope > .exports") ?? offer(block);
      const label = `Save the plot “${nameOf(block)}”`; // which may change with what the plot shows
      if (group.getAttribute("aria-label") === label) continue;
      group.setAttribute("aria-label", label);
      for (const button of group.children) button.setAttribute("aria-label", `${label} as ${button.textContent}`);
    }
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
