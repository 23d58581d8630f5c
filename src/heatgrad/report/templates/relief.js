// A canvas of the class "relief" shows a surface that is turned by dragging or by the arrow keys.
for (const canvas of document.querySelectorAll("canvas.relief")) {
  const { columns, heights } = JSON.parse(canvas.dataset.surface);
  const rows = heights.length / columns;
  const view = { turn: 0.7, tilt: 0.55 };
  // Viridis, at five places.
  const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const color = (h) => {
    const place = Math.min(0.9999, Math.max(0, h)) * (stops.length - 1);
    const [a, b, t] = [stops[Math.floor(place)], stops[Math.floor(place) + 1], place % 1];
    return `rgb(${a.map((v, k) => Math.round(v + t * (b[k] - v))).join(",")})`;
  };
  const draw = () => {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    [canvas.width, canvas.height] = [width * ratio, height * ratio];
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const size = 0.33 * Math.min(width, 1.15 * height);
    const [c, s, up, flat] = [Math.cos(view.turn), Math.sin(view.turn), Math.cos(view.tilt), Math.sin(view.tilt)];
    const project = (x, y, h) => {
      const [far, z] = [x * s + y * c, 1.1 * (h - 0.5)];
      return { x: width / 2 + size * (x * c - y * s), y: height / 2 - size * (z * up + far * flat), far: far * up - z * flat };
    };
    const points = heights.map((h, k) => h === null ? null
      : project(2 * (k % columns) / (columns - 1) - 1, 2 * Math.floor(k / columns) / (rows - 1) - 1, h));
    const faces = [];
    for (let row = 0; row + 1 < rows; row++) {
      for (let column = 0; column + 1 < columns; column++) {
        const k = row * columns + column;
        const corners = [k, k + 1, k + columns + 1, k + columns];
        if (corners.some((corner) => points[corner] === null)) continue;
        const mean = (of) => corners.reduce((sum, corner) => sum + of(corner), 0) / 4;
        faces.push({ corners, far: mean((q) => points[q].far), h: mean((q) => heights[q]) });
      }
    }
    faces.sort((a, b) => b.far - a.far);
    pen.lineWidth = 0.5;
    for (const face of faces) {
      pen.beginPath();
      for (const corner of face.corners) pen.lineTo(points[corner].x, points[corner].y);
      pen.closePath();
      pen.fillStyle = color(face.h);
      pen.strokeStyle = "rgba(0,0,0,.28)";
      pen.fill();
      pen.stroke();
    }
    canvas.dataset.faces = faces.length;
  };
  const turn = (across, up) => {
    view.turn += across;
    view.tilt = Math.min(1.5, Math.max(0.05, view.tilt + up));
    draw();
  };
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) turn(-0.01 * event.movementX, 0.01 * event.movementY);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
    if (!step) return;
    event.preventDefault();
    turn(...step);
  });
  new ResizeObserver(draw).observe(canvas);
}
