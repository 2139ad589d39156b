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
