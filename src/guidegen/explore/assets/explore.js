const [form, message, work, drawings] = ["ask", "message", "work", "drawings"].map((id) => document.getElementById(id));
const bar = work.querySelector("progress");
const shown = new Set();

const complain = (text) => { message.textContent = text; message.hidden = !text; };

const showState = (state) => {
  form.querySelector("button").disabled = state.running;
  work.hidden = !state.running;
  if (state.running) {
    if (state.total) { bar.max = state.total; bar.value = state.done; } else bar.removeAttribute("value");
    work.querySelector("span").textContent = state.step + (state.total ? `: step ${state.done} of ${state.total}` : "");
  }
  if (state.error) complain(state.error);
  if (state.html && !shown.has(state.number)) {
    shown.add(state.number);
    const card = document.createElement("div");
    card.innerHTML = state.html;
    drawings.prepend(card);
    while (drawings.children.length > 4) drawings.lastChild.remove();
  }
};

const follow = async () => {
  for (;;) {
    const state = await (await fetch("state")).json();
    showState(state);
    if (!state.running) return;
    await new Promise((done) => setTimeout(done, 300));
  }
};

const attempt = async (act) => {
  try {
    await act();
  } catch (error) {
    form.querySelector("button").disabled = false;
    work.hidden = true;
    complain(`The explorer does not answer (${error.message}). Was it ended?`);
  }
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    complain("");
    const body = JSON.stringify({ prompt: form.elements.prompt.value, seed: Number(form.elements.seed.value) });
    const reply = await fetch("draw", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    const state = await reply.json();
    if (!reply.ok) return complain(state.error);
    showState(state);
    await follow();
  });
});
drawings.addEventListener("change", (event) => {
  if (event.target.matches("[data-layers]")) {
    event.target.closest(".gallery").classList.toggle("bare", !event.target.checked);
  }
});
attempt(follow);
