// A slider tells the server of a new value when the pointer lets go of it. The same, for keyboard and typing:
// arrow keys on the slider, Enter or leaving its number box; an emptied box gets its last value back.
(() => {
  const release = (input) => setTimeout(() => input.dispatchEvent(new PointerEvent("pointerup", { bubbles: true })), 50);
  const boxes = '.block:has(input[type="range"]) input[type="number"]';
  const last = new WeakMap();
  document.addEventListener("focusin", ({ target }) => target.matches(boxes) && last.set(target, target.value));
  document.addEventListener("keyup", ({ target, key }) => {
    if (target.matches('input[type="range"]') && /^(Arrow|Page|Home|End)/.test(key)) release(target);
    if (target.matches(boxes) && key === "Enter") target.blur();
  });
  document.addEventListener("focusout", ({ target }) => {
    if (!target.matches(boxes) || target.value === last.get(target)) return;
    if (target.value === "") {
      target.value = last.get(target);
      target.dispatchEvent(new Event("input", { bubbles: true }));
    }
    release(target);
  });
})();

// The address follows the page: the query of the last list, and the tab that is open; opened again, it brings both back.
(() => {
  const keep = ["view", "__theme"];
  const write = (query) => history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  const tabs = () => [...document.querySelectorAll('button[role="tab"]')];
  window.setAddress = (text) => {
    const [now, next] = [new URLSearchParams(location.search), new URLSearchParams(text)];
    for (const key of keep) if (now.has(key)) next.set(key, now.get(key));
    write(next);
  };
  document.addEventListener("click", ({ target }) => {
    const tab = target.closest('button[role="tab"], .overflow-dropdown button');
    if (!tab) return;
    const query = new URLSearchParams(location.search);
    query.set("view", tab.textContent.trim());
    write(query);
    setTimeout(() => window.dispatchEvent(new Event("resize")), 100); // plots drawn in a hidden tab took any width
  });
  const view = new URLSearchParams(location.search).get("view");
  if (!view) return;
  const open = new MutationObserver(() => {
    const tab = tabs().find((button) => button.textContent.trim() === view);
    if (!tab) return;
    open.disconnect();
    setTimeout(() => tab.click(), 0);
  });
  open.observe(document.documentElement, { childList: true, subtree: true });
})();
