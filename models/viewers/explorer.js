// Runs in Model Explorer's page: waits until it shows node data, and posts the sum and the maximum that it has of them.
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function shown(name) {
  const found = document.body.innerText.match(new RegExp(`\\n${name}\\s+([\\d.]+)\\n`));
  return found && Number(found[1]);
}

async function statistics() {
  for (let turn = 0; turn < 600; turn++) {
    const [sum, max] = [shown("Sum"), shown("Max")];
    if (sum !== null && max !== null) return { sum, max };
    await pause(200);
  }
  throw new Error(`no statistics; the page shows ${document.body.innerText.slice(0, 2000)}`);
}

addEventListener("load", async () => {
  const seen = await statistics().catch((error) => ({ error: String(error) }));
  await fetch("/seen", { method: "POST", body: JSON.stringify(seen) });
});
