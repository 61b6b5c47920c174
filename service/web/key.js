// The API key: asked for only after the service has wanted one, kept as long as the tab is open.

const PLACE = "bitext-key";
const form = document.querySelector("#key");
const field = document.querySelector("#key-field");
const held = document.querySelector("#key-held");
const problem = document.querySelector("#key-problem");
let listener = () => {};
let key = stored();

function stored() {
  try {
    return sessionStorage.getItem(PLACE) ?? "";
  } catch {
    return ""; // a browser that keeps nothing
  }
}

function keep(value) {
  key = value;
  try {
    if (value) sessionStorage.setItem(PLACE, value);
    else sessionStorage.removeItem(PLACE);
  } catch { /* then it lasts until the page is left */ }
  held.hidden = !value;
}

/** The headers that show who asks. */
export function credentials() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** The service wants a key, or another one. */
export function wantKey(sentence) {
  if (form.hidden) {
    form.hidden = false;
    field.focus();
  }
  held.hidden = true;
  problem.textContent = sentence;
}

/** Call `onkey` when the key has changed. */
export function watchKey(onkey) {
  listener = onkey;
}

held.hidden = !key;
held.addEventListener("click", () => {
  keep("");
  listener();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  keep(field.value.trim());
  field.value = "";
  form.hidden = true;
  listener();
});
