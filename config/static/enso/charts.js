// The PNG of a chart: its SVG file, drawn by the browser at twice its size. No server has to have a renderer.

const SCALE = 2;

function show() {
  for (const button of document.querySelectorAll("button[data-png]")) button.hidden = false;
}

async function pictureOf(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = SCALE * image.naturalWidth;
  canvas.height = SCALE * image.naturalHeight;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((made, failed) => {
    canvas.toBlob((blob) => (blob ? made(blob) : failed(new Error("no picture"))), "image/png");
  });
}

function keep(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-png]");
  if (!button) return;
  button.disabled = true;
  try {
    keep(await pictureOf(button.dataset.png), button.dataset.name);
  } catch {
    button.textContent = button.dataset.failed;
  } finally {
    button.disabled = false;
  }
});

// Charts are replaced as figures come in.
new MutationObserver(show).observe(document.body, { childList: true, subtree: true });
show();
