// Looks for labels that touch each other and for content that leaves the page; `../page.rs` reads what it saw.
{
const seen = { overlaps: [], outside: [], width: innerWidth, scrolls: document.documentElement.scrollWidth, texts: 0 };
const touch = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
for (const chart of document.querySelectorAll("main svg")) {
  const texts = [...chart.querySelectorAll("text")].filter((text) => text.textContent.trim());
  const boxes = texts.map((text) => text.getBoundingClientRect());
  seen.texts += texts.length;
  boxes.forEach((box, at) => {
    if (box.left < -1 || box.right > innerWidth + 1) seen.outside.push(texts[at].textContent);
    for (let other = 0; other < at; other++) if (touch(box, boxes[other])) seen.overlaps.push([texts[at].textContent, texts[other].textContent]);
  });
}
for (const part of document.querySelectorAll("main > *, main section > *")) {
  const { left, right } = part.getBoundingClientRect();
  if (left < -1 || right > innerWidth + 1) seen.outside.push(part.id || part.className || part.tagName);
}
const done = document.createElement("script");
done.type = "application/json";
done.id = "seen";
done.textContent = JSON.stringify(seen).replaceAll("<", "\\u003c");
document.body.append(done);
}
