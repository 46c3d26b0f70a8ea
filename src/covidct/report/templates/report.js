"use strict";
for (const form of document.querySelectorAll("form.filter")) {
  const gallery = document.getElementById(form.dataset.gallery);
  const items = [...gallery.children];
  const apply = () => {
    const { verdict, true: label, cam } = form.elements;
    for (const item of items) {
      item.hidden = (verdict.value && verdict.value !== item.dataset.verdict) ||
        (label.value && label.value !== item.dataset.true);
    }
    gallery.classList.toggle("bare", !cam.checked);
    const shown = items.filter((item) => !item.hidden).length;
    form.querySelector("output").textContent = `${shown} of ${items.length} slices`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
}
