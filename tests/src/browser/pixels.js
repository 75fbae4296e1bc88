(selector, colors) => {
  // A canvas turns a color into its bytes; only an element knows the variables of the style sheet.
  const bytes = (color) => {
    const probe = document.body.appendChild(document.createElement("span"));
    probe.style.color = color;
    const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
    context.fillStyle = getComputedStyle(probe).color;
    probe.remove();
    context.fillRect(0, 0, 1, 1);
    return context.getImageData(0, 0, 1, 1).data;
  };
  const wanted = colors.map(bytes);
  const found = wanted.map(() => 0);
  const canvases = [...document.querySelectorAll(`${selector} canvas`)].filter((canvas) => canvas.width && canvas.height);
  for (const canvas of canvases) {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
      wanted.forEach((color, index) => {
        if (color.every((byte, channel) => Math.abs(byte - data[at + channel]) <= 3)) found[index] += 1;
      });
    }
  }
  return found;
}
