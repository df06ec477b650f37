"use strict";
// The volume viewer: opens a case in NiiVue, loads library and case only then. Radiological convention throughout.
const viewer = (() => {
  const dialog = document.getElementById("viewer");
  if (!dialog) return null;
  const facts = JSON.parse(document.getElementById("viewer-facts").textContent);
  const find = (name) => dialog.querySelector(`[data-${name}]`);
  const PLANES = ["three planes", "axial", "coronal", "sagittal"];
  const state = { window: 1, labels: true, crosshair: true, plane: 0, opened: null };
  const scripts = new Map();
  const cases = new Map();
  let niiVue = null;
  let request = 0;

  window.guidegenCase = (pair) => cases.set(pair.case, pair);

  const loadScript = (source) => {
    if (!scripts.has(source)) {
      scripts.set(source, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = source;
        script.onload = resolve;
        script.onerror = () => { scripts.delete(source); reject(new Error(`${source} is not beside this page`)); };
        document.head.append(script);
      }));
    }
    return scripts.get(source);
  };

  const start = async () => {
    if (niiVue) return;
    await loadScript(dialog.dataset.library);
    const canvas = find("canvas");
    if (!document.createElement("canvas").getContext("webgl2")) throw new Error("this browser has no WebGL 2");
    const made = new niivue.Niivue({
      logLevel: "error", isRadiologicalConvention: true, sagittalNoseLeft: true, dragAndDropEnabled: false,
      multiplanarShowRender: niivue.SHOW_RENDER.NEVER, multiplanarPadPixels: 6, crosshairColor: [1, 0.85, 0.2, 0.8],
      crosshairGap: 12,
      fontColor: [1, 1, 1, 1], textHeight: 0.045, clipPlaneHotKey: "", viewModeHotKey: "", loadingText: "",
    });
    await made.attachToCanvas(canvas);
    // A closed dialog has no size, which WebGL would complain of.
    const resize = made.resizeListener.bind(made);
    made.resizeListener = () => { if (dialog.open) resize(); };
    made.onLocationChange = showLocation;
    niiVue = made;
  };

  const showLocation = ({ mm, values }) => {
    const [x, y, z] = mm;
    const side = (value, plus, minus) => `${Math.abs(value).toFixed(0)} mm ${value < 0 ? minus : plus}`;
    const label = facts.names[Math.round(values[1]?.value ?? 0)] ?? "";
    find("place").textContent =
      `${String(Math.round(values[0].value)).replace("-", "−")} HU · ${label} · ${side(x, "R", "L")} · ${side(y, "A", "P")} · ${side(z, "S", "I")}`;
  };

  const applyWindow = () => {
    const { low, high } = facts.windows[state.window];
    if (niiVue?.volumes.length) {
      niiVue.volumes[0].cal_min = low;
      niiVue.volumes[0].cal_max = high;
      niiVue.updateGLVolume();
    }
    for (const button of dialog.querySelectorAll("[data-window]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.window) === state.window));
    }
  };
  const applyLabels = () => {
    if (niiVue?.volumes.length > 1) niiVue.setOpacity(1, state.labels ? 0.45 : 0);
    find("labels").setAttribute("aria-pressed", String(state.labels));
    find("legend").hidden = !state.labels;
  };
  const applyCrosshair = () => {
    niiVue?.setCrosshairWidth(state.crosshair ? 0.4 : 0);
    find("crosshair").setAttribute("aria-pressed", String(state.crosshair));
  };
  const applyPlane = () => {
    const { SLICE_TYPE } = window.niivue ?? {};
    const types = SLICE_TYPE && [SLICE_TYPE.MULTIPLANAR, SLICE_TYPE.AXIAL, SLICE_TYPE.CORONAL, SLICE_TYPE.SAGITTAL];
    if (types) niiVue?.setSliceType(types[state.plane]);
    find("planes").value = String(state.plane);
  };
  const applyAll = () => [applyWindow, applyLabels, applyCrosshair, applyPlane].forEach((apply) => apply());

  const makeColours = () => ({
    R: facts.colours.map((c) => c[0]), G: facts.colours.map((c) => c[1]), B: facts.colours.map((c) => c[2]),
    A: facts.colours.map((_, k) => (k ? 255 : 0)), I: facts.colours.map((_, k) => k), labels: facts.names,
  });

  const listShown = (labels) => {
    const found = new Set(labels.img);
    find("legend").replaceChildren(...facts.names.flatMap((name, k) => {
      if (!k || !found.has(k)) return [];
      const entry = document.createElement("li");
      const colour = document.createElement("i");
      colour.style.background = `rgb(${facts.colours[k].join(" ")})`;
      entry.append(colour, name);
      return entry;
    }));
  };

  const say = (text) => { find("wait").textContent = text; find("wait").hidden = !text; };

  const show = async (name, source) => {
    const mine = ++request;
    dialog.dataset.state = "loading";
    say("Loading …");
    try {
      await Promise.all([start(), loadScript(source)]);
      const pair = cases.get(name);
      if (!pair) throw new Error(`${source} does not hold ${name}`);
      if (mine !== request) return;
      while (niiVue.volumes.length) niiVue.removeVolume(niiVue.volumes.at(-1));
      const { low, high } = facts.windows[state.window];
      const ct = niivue.NVImage.loadFromBase64({ base64: pair.ct, name: "ct.nii.gz", cal_min: low, cal_max: high });
      const labels = niivue.NVImage.loadFromBase64({ base64: pair.labels, name: "labels.nii.gz", opacity: 0.45 });
      labels.setColormapLabel(makeColours());
      niiVue.addVolume(ct);
      niiVue.addVolume(labels);
      niiVue.scene.crosshairPos = niiVue.vox2frac(findMiddle(labels));
      niiVue.createOnLocationChange();
      listShown(labels);
      find("grid").textContent = `Voxels of ${pair.voxel_mm} mm` +
        (pair.reduced ? `, coarser than the file's by ${pair.reduced} (x, y, z).` : ", as in the file.");
      applyAll();
      say("");
      dialog.dataset.state = "ready";
    } catch (error) {
      dialog.dataset.state = "failed";
      say(`This case cannot be shown: ${error.message}.`);
    }
  };

  // Where to look first: the tumour's middle (the last class), else the middle of all labels.
  const findMiddle = (labels) => {
    const [, nx, ny, nz] = labels.dimsRAS;
    const tumour = facts.names.length - 1;
    const sums = [[0, 0, 0, 0], [0, 0, 0, 0]];
    for (let z = 0, k = 0; z < nz; z++) for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++, k++) {
      const id = labels.img[k];
      if (!id) continue;
      for (const sum of id === tumour ? sums : [sums[0]]) { sum[0] += x; sum[1] += y; sum[2] += z; sum[3] += 1; }
    }
    const [x, y, z, n] = sums[1][3] ? sums[1] : sums[0];
    return (n ? [x / n, y / n, z / n] : [nx / 2, ny / 2, nz / 2]).map(Math.round);
  };

  const move = (x, y, z) => { if (niiVue?.volumes.length) niiVue.moveCrosshairInVox(x, y, z); };
  const actions = {
    1: () => { state.window = 0; applyWindow(); },
    2: () => { state.window = 1; applyWindow(); },
    3: () => { state.window = 2; applyWindow(); },
    l: () => { state.labels = !state.labels; applyLabels(); },
    x: () => { state.crosshair = !state.crosshair; applyCrosshair(); },
    v: () => { state.plane = (state.plane + 1) % PLANES.length; applyPlane(); },
    ArrowUp: (step) => move(0, 0, step), ArrowDown: (step) => move(0, 0, -step),
    ArrowLeft: (step) => move(step, 0, 0), ArrowRight: (step) => move(-step, 0, 0),
    PageUp: (step) => move(0, step, 0), PageDown: (step) => move(0, -step, 0),
  };
  dialog.addEventListener("keydown", (event) => {
    const act = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    // The library has keys of its own, with other meanings.
    event.stopPropagation();
    if (!act || event.ctrlKey || event.metaKey || event.altKey || event.target === find("planes")) return;
    event.preventDefault();
    act(event.shiftKey ? 5 : 1);
  }, true);
  for (const button of dialog.querySelectorAll("[data-key]")) {
    button.addEventListener("click", () => actions[button.dataset.key](1));
  }
  find("planes").addEventListener("change", (event) => { state.plane = Number(event.target.value); applyPlane(); });
  find("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => { request++; state.opened?.focus(); });

  const open = (button) => {
    state.opened = button;
    find("title").textContent = button.dataset.open;
    find("prompt").textContent = button.dataset.prompt ?? "";
    dialog.showModal();
    find("canvas").focus();
    show(button.dataset.open, button.dataset.source);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-open]");
    if (button) open(button);
  });
  return { open, show, get niiVue() { return niiVue; } };
})();
