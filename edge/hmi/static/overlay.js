"use strict";
// A picture with its map on a canvas. The colours are those of the service's own overlays: below the threshold of the
// map blue, from it on orange, the more opaque the larger the value.
(() => {
  const BELOW = [0, 90, 181];
  const ABOVE = [230, 97, 0];
  const MOST_OPAQUE = 0.75;
  const FINE = 960; // pixels along the longer side of a canvas, about

  function colours(threshold) {
    const table = new Uint8ClampedArray(256 * 4);
    for (let grey = 0; grey < 256; grey++) {
      const value = grey / 255;
      const place = Math.min(1, Math.max(0, value / Math.max(threshold, 1e-6) - 0.5));
      table.set(value >= threshold ? ABOVE : BELOW, grey * 4);
      table[grey * 4 + 3] = 255 * MOST_OPAQUE * place ** 1.5;
    }
    return table;
  }

  // One canvas and what it shows. `set` takes a new picture, `draw` paints it anew.
  class Overlay {
    constructor(canvas) {
      this.canvas = canvas;
      this.opacity = 1;
      this.outlines = true;
      this.part = null; // {head, picture, tint, regions}
    }

    // head: as the live feed sends it; picture: ImageBitmap; map: ImageBitmap or null; regions: of the verdict.
    set(head, picture, map, regions) {
      const tint = map ? this.tint(head, map) : null;
      const before = this.part?.picture;
      this.part = { head, picture, tint, regions: regions || [] };
      this.draw();
      for (const used of [before, map]) if (used instanceof ImageBitmap) used.close(); // 5 a second would pile up
    }

    // The map at the picture's size: scaled as grey, so that the border lies where the value crosses the threshold.
    tint(head, map) {
      const layer = new OffscreenCanvas(head.width, head.height);
      const context = layer.getContext("2d", { willReadFrequently: true });
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "medium";
      context.drawImage(map, 0, 0, head.width, head.height);
      const pixels = context.getImageData(0, 0, head.width, head.height);
      const table = new Uint32Array(colours(head.pixel_threshold ?? 0.5).buffer);
      const words = new Uint32Array(pixels.data.buffer);
      for (let at = 0, byte = 0; at < words.length; at++, byte += 4) words[at] = table[pixels.data[byte]];
      context.putImageData(pixels, 0, 0);
      return layer;
    }

    draw() {
      if (!this.part) return;
      const { head, picture, tint, regions } = this.part;
      // A small picture is drawn larger, so that lines on it are as fine as on a large one.
      const scale = Math.max(1, Math.ceil(FINE / Math.max(head.width, head.height)));
      if (this.canvas.width !== scale * head.width || this.canvas.height !== scale * head.height) {
        this.canvas.width = scale * head.width;
        this.canvas.height = scale * head.height;
      }
      const context = this.canvas.getContext("2d");
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.globalAlpha = 1;
      context.drawImage(picture, 0, 0, head.width, head.height);
      if (tint && this.opacity > 0) {
        context.globalAlpha = this.opacity;
        context.drawImage(tint, 0, 0, head.width, head.height);
        context.globalAlpha = 1;
      }
      if (this.outlines) this.outline(context, head, regions, Math.max(head.width, head.height) / FINE);
    }

    // Regions are in pixels of the frame; the picture shows the inspected region of it.
    outline(context, head, regions, fine) {
      const frame = head.frame || [head.width, head.height];
      const [left, top, wide, high] = head.region || [0, 0, frame[0], frame[1]];
      const across = head.width / wide;
      const down = head.height / high;
      const thick = 3 * fine;
      for (const region of regions) {
        const box = [(region.x - left) * across, (region.y - top) * down, region.width * across, region.height * down];
        context.lineWidth = 2 * thick;
        context.strokeStyle = "#000";
        context.strokeRect(...box);
        context.lineWidth = thick;
        context.strokeStyle = "#fff";
        context.strokeRect(...box);
      }
    }
  }

  // Canvases of pages that show a part of the past: the picture and the map are images of the page.
  async function still(canvas) {
    const head = JSON.parse(canvas.dataset.head);
    const overlay = (canvas.overlay ??= new Overlay(canvas));
    const [picture, map] = await Promise.all(
      [canvas.dataset.picture, canvas.dataset.map].map(async (source) => {
        if (!source) return null;
        const image = new Image();
        image.src = source;
        await image.decode();
        return image;
      }),
    );
    head.width = picture.naturalWidth;
    head.height = picture.naturalHeight;
    if (overlay.part) return; // a newer one came live meanwhile
    overlay.set(head, picture, map, JSON.parse(canvas.dataset.regions || "[]"));
    canvas.dataset.seq = head.seq;
  }

  function controls(root) {
    for (const slider of root.querySelectorAll("[data-opacity-of]")) {
      slider.addEventListener("input", () => {
        const overlay = document.getElementById(slider.dataset.opacityOf).overlay;
        overlay.opacity = slider.value / 100;
        overlay.draw();
      });
    }
    for (const tick of root.querySelectorAll("[data-outlines-of]")) {
      tick.addEventListener("change", () => {
        const overlay = document.getElementById(tick.dataset.outlinesOf).overlay;
        overlay.outlines = tick.checked;
        overlay.draw();
      });
    }
  }

  window.Overlay = Overlay;
  document.addEventListener("DOMContentLoaded", () => {
    for (const canvas of document.querySelectorAll("canvas[data-live-picture]")) {
      canvas.overlay = new Overlay(canvas);
      if (canvas.dataset.picture) still(canvas).catch(() => {});
    }
    for (const canvas of document.querySelectorAll("canvas[data-still]")) still(canvas);
    controls(document);
  });
})();
