// Runs in Netron's page: opens a model and its attachment as if they were dropped, chooses a node, reads its properties.
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function until(what, find) {
  for (let turn = 0; turn < 600; turn++) {
    const found = find();
    if (found) return found;
    await pause(100);
  }
  throw new Error(`no ${what}; the page shows ${document.body.innerText.slice(0, 300)}`);
}

async function drop(name) {
  const bytes = await (await fetch(`/given/${name}`)).arrayBuffer();
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}

async function properties() {
  const { attachment, node } = await (await fetch("/given/task.json")).json();
  await until("start page", () => document.body.classList.contains("welcome") && !document.body.classList.contains("spinner"));
  await drop("model.onnx");
  await until("graph", () => document.body.className === "default" && document.querySelector("#target .node"));
  if (attachment) {
    await drop("attachment.json");
    await pause(500);
  }
  const drawn = await until("node", () => [...document.querySelectorAll(".node")].find((one) => one.id.endsWith(`-${node}`)));
  drawn.querySelector(".node-item-type, .node-item").dispatchEvent(new PointerEvent("click", { bubbles: true }));
  await until("properties", () => document.querySelector("#sidebar")?.innerText.includes("NODE PROPERTIES"));
  await pause(300);
  // A name is an input that cannot be written; its value is the text beside it.
  const items = [...document.querySelectorAll("#sidebar .sidebar-item")];
  return items.map((item) => [item.querySelector("input")?.value ?? "", item.innerText.replace(/^\+\s*/, "").trim()]);
}

addEventListener("load", async () => {
  const seen = await properties().catch((error) => ({ error: String(error) }));
  await fetch("/seen", { method: "POST", body: JSON.stringify(seen) });
});
