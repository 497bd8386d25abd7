"use strict";
const pages = [...document.querySelectorAll("article")];
const search = document.querySelector("#search");
const filter = document.querySelector("#filter");
const count = document.querySelector("#count");
const texts = new Map();
let current = -1;

function textOf(page) {
  if (!texts.has(page)) texts.set(page, page.textContent.toLowerCase());
  return texts.get(page);
}

function show() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const page of pages) {
    const kinds = page.dataset.kinds.split(" ");
    const fits = filter.value === "all" || kinds.includes(filter.value);
    page.hidden = !(fits && words.every((word) => textOf(page).includes(word)));
    shown += !page.hidden;
  }
  count.textContent = shown === pages.length ? `${shown} pages` : `${shown} of ${pages.length} pages`;
  mark(-1);
}

function mark(place) {
  if (pages[current]) pages[current].classList.remove("current");
  current = place;
  if (!pages[current]) return;
  pages[current].classList.add("current");
  pages[current].scrollIntoView({ block: "start" });
}

function step(by) {
  let place = current + by;
  if (current < 0 && by < 0) return;
  while (pages[place] && pages[place].hidden) place += by;
  if (pages[place]) mark(place);
}

const keys = {
  j: () => step(1),
  k: () => step(-1),
  f: () => {
    filter.selectedIndex = (filter.selectedIndex + 1) % filter.length;
    show();
  },
  "/": () => search.focus(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") document.activeElement.blur();
  if (["INPUT", "SELECT"].includes(event.target.tagName)) return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
document.addEventListener("click", (event) => {
  const figure = event.target.closest("figure.page");
  if (figure) figure.closest("article").classList.toggle("large");
});
search.addEventListener("input", show);
filter.addEventListener("change", show);
show();
