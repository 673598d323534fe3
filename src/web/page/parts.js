// Elements made and changed. No text ever becomes HTML: names of clients and reasons are anybody's.

const SVG = "http://www.w3.org/2000/svg";

/** A new last child of `parent`. */
export function part(parent, name, className = "") {
  const made = parent.appendChild(document.createElement(name));
  if (className) made.className = className;
  return made;
}

/** A new last child of `parent`, which is SVG or becomes so. */
export function drawing(parent, name, attributes = {}) {
  const made = parent.appendChild(document.createElementNS(SVG, name));
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Sets an attribute, if that changes it. */
export function put(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Sets the text, if that changes it. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
