// Which view is shown, and what it shows, as the address says: `#align?source=…&target=…`. It stands
// behind the #, so that texts are never sent as part of an address and are in no log.

/**
 * A view of the page.
 * @typedef {object} View
 * @property {(state: URLSearchParams) => void} open show what the address says
 * @property {() => void} [close] stop what goes on only while the view is seen
 */

export class Router {
  /** @param {Object<string, View>} views by name, the first one first */
  constructor(views) {
    this.views = views;
    this.first = Object.keys(views)[0];
    this.name = null;
    this.links = new Map(
      [...document.querySelectorAll("nav [data-view]")].map((link) => [link.dataset.view, link]),
    );
    addEventListener("hashchange", () => this.open({ moved: true }));
  }

  /** Show what the address says. */
  open({ moved = false } = {}) {
    const { name, state } = this.read();
    if (name === null) return; // an anchor of the page
    if (this.name !== name) this.turn(name, moved);
    this.link(name, state);
    this.views[name].open(state);
  }

  /** The address of what is shown from now on: a step that the back button undoes. */
  note(name, state) {
    const address = this.address(name, state);
    if (address !== location.hash) history.pushState(null, "", address);
    this.link(name, state);
  }

  /** Go to another view or another state of this one. */
  go(name, state) {
    location.hash = this.address(name, state);
  }

  address(name, state) {
    const text = new URLSearchParams(state).toString();
    return `#${name}${text ? `?${text}` : ""}`;
  }

  read() {
    const [name, text = ""] = location.hash.slice(1).split(/\?(.*)/s);
    if (name && !(name in this.views)) return { name: null };
    return { name: name || this.first, state: new URLSearchParams(text) };
  }

  turn(name, moved) {
    this.views[this.name]?.close?.();
    this.name = name;
    for (const section of document.querySelectorAll("main > section")) {
      section.hidden = section.id !== `view-${name}`;
    }
    for (const [other, link] of this.links) {
      if (other === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const title = document.querySelector(`#view-${name} h2`);
    document.title = `${title.textContent} · bitext`;
    if (moved) {
      title.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  }

  /** Let the link of a view lead to what it shows. */
  link(name, state) {
    this.links.get(name).href = this.address(name, state);
  }
}
