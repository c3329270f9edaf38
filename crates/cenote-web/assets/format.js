
// Small tools: elements without markup, and figures as people read them.

const $ = id => document.getElementById(id);

/** Sets an attribute or text only if it differs: an element that is left alone costs nothing. */
const put = (element, name, value) => {
  if (name === 'text') { if (element.textContent !== value) element.textContent = value; }
  else if (name === 'class') { if (element.getAttribute('class') !== value) element.setAttribute('class', value); }
  else if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
};

/** An element with attributes and children; strings become text, never markup. */
const el = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else put(element, name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
};

const svg = (tag, attributes = {}, ...children) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

const bytes = n => {
  if (n === null || n === undefined) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0, size = Math.abs(n);
  // Small sizes stay exact: pools are told by them.
  while (size >= (unit ? 1024 : 10240) && unit < units.length - 1) { size /= 1024; unit += 1; }
  const digits = unit === 0 || size >= 100 ? 0 : 1;
  return (n < 0 ? '−' : '') + size.toFixed(digits).replace(/\.0$/, '') + ' ' + units[unit];
};

const count = n => n === null || n === undefined ? '–'
  : n >= 1e7 ? (n / 1e6).toFixed(1) + ' M' : Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, '\u202f');

const percent = (part, whole) => part === null || part === undefined ? '–'
  : whole > 0 ? Math.round(100 * part / whole) + ' %' : '0 %';

const duration = s => {
  if (s === null || s === undefined) return '–';
  if (s < 10) return s.toFixed(1) + ' s';
  if (s < 120) return Math.floor(s) + ' s';
  if (s < 7200) return Math.floor(s / 60) + ' min';
  if (s < 172800) return Math.floor(s / 3600) + ' h';
  return Math.floor(s / 86400) + ' d';
};

const clock = date => date.toLocaleTimeString();
/** With its day, unless that is today. */
const moment = seconds => {
  const date = new Date(seconds * 1000);
  return date.toDateString() === new Date().toDateString() ? clock(date) : date.toLocaleString();
};

/** Accounts right under the root of which there are several of a name, as of a service's requests. */
const several = new Set();
/** Of workers there is one of each name, whatever pools it has had. */
const countNames = look => look.accounts.filter(row => row.path.length === 2)
  .filter(row => row.accounts > 1 || row.created > 1 && row.live <= row.accounts)
  .forEach(row => several.add(row.path[1]));

/** The names of a pool's accounts, numbered where a name alone does not tell. */
const label = (path, numbers) => path.map((name, i) =>
  (i > 1 || i === 1 && several.has(name)) && numbers && numbers[i] ? name + ' #' + numbers[i] : name);

/** Whose a pool is, as far as the server says: what was asked for, what it was answered with, and by whom it was asked. */
const whose = pool => [pool.request, pool.status, pool.peer && 'from ' + pool.peer].filter(Boolean).join(' ');

/** Whether a pool is what is looked for: by its path, its name, the place where it was made, or whose it is. */
const matches = (pool, find) => !find
  || (label(pool.path, pool.numbers).join('/') + ' ' + pool.name + ' ' + pool.created_at + ' ' + whose(pool)).toLowerCase().includes(find);

/** How many values a line of what was lately has. */
const REMEMBERED = 120;
/** A line of what was lately, in an SVG that stays. */
const spark = () => {
  const under = svg('path', {class: 'under'}), line = svg('path');
  const element = svg('svg', {class: 'spark', viewBox: '0 0 60 20', preserveAspectRatio: 'none', 'aria-hidden': 'true'}, under, line);
  return {element, draw(values) {
    if (values.length < 2) { line.removeAttribute('d'); under.removeAttribute('d'); return; }
    const most = Math.max(...values, 1e-9), step = 60 / (values.length - 1);
    const points = values.map((value, i) => (i * step).toFixed(1) + ' ' + (18.5 - 17 * value / most).toFixed(1));
    line.setAttribute('d', 'M' + points.join('L'));
    under.setAttribute('d', 'M0 20L' + points.join('L') + 'L60 20Z');
  }};
};
