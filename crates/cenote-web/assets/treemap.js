
// Who holds the memory, as areas: worker, connection, request.

/** worker-0 and worker-1 are workers. */
const kind = name => name.replace(/[-_ ]?\d+$/, '') || name;
/** A colour for each kind of account: one of 24, by its name alone, so that it is the same tomorrow. The hash
 * begins with a number by which a server's usual names lie far apart. */
const hue = numbered => {
  let hash = 619;
  for (const letter of kind(numbered)) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193) >>> 0;
  return 'oklch(var(--hues) ' + 15 * ((hash >>> 5) % 24) + ')';
};

/** The tree to be drawn: pools that are told one by one, and the rest of each path as one; only what
 * is looked for, if something is. */
const build = (look, find) => {
  const root = {key: '', name: look.name, label: look.name, children: new Map(), value: 0};
  const place = (path, numbers) => {
    const names = label(path, numbers);
    let at = root;
    for (let i = 1; i < path.length; i += 1) {
      const key = at.key + '/' + names[i];
      if (!at.children.has(key)) at.children.set(key, {key, name: path[i], label: names[i], children: new Map(), value: 0});
      at = at.children.get(key);
    }
    return at;
  };
  const shown = new Map();
  for (const pool of look.pools) {
    if (pool.path[0] !== look.name || pool.held_bytes <= 0 && !pool.over_age || !matches(pool, find)) continue;
    const at = place(pool.path, pool.numbers);
    const key = at.key + '/' + (pool.id ?? 'account');
    at.children.set(key, {key, name: pool.path[pool.path.length - 1], label: at.label, pool, value: pool.held_bytes, used: pool.used_bytes});
    const path = pool.path.join('\n');
    const sum = shown.get(path) ?? {held: 0, used: 0, pools: 0};
    sum.held += pool.held_bytes; sum.used += pool.used_bytes ?? 0; sum.pools += 1;
    shown.set(path, sum);
  }
  // If every pool was told, what is missing has come since.
  const omitted = look.silent.length > 0 || look.pools_shown > look.pools.filter(pool => pool.id).length;
  for (const row of omitted && !find ? look.accounts : []) {
    const sum = shown.get(row.path.join('\n')) ?? {held: 0, used: 0, pools: 0};
    const rest = row.own_held_bytes - row.own_reserved_bytes - sum.held;
    // What moved between two readings is no pool.
    if (rest <= 0 || row.live <= sum.pools) continue;
    // Of which connection they are nobody said: they are put under the last account that is one.
    const single = look.accounts.filter(other => other.accounts === 1 && other.path.length < row.path.length
      && other.path.every((name, i) => name === row.path[i])).pop();
    const at = place(single ? single.path : [look.name], null);
    const name = row.path[row.path.length - 1], more = row.live - sum.pools, key = at.key + '/+' + name;
    at.children.set(key, {key, name, label: name + ' × ' + more, rest: true, row, value: rest,
      used: row.own_used_bytes === null ? null : Math.max(0, row.own_used_bytes - sum.used)});
  }
  // What is reserved for memory elsewhere is an area of its own, beside the pools.
  for (const row of find ? [] : look.accounts) {
    if (!(row.own_reserved_bytes > 0)) continue;
    const at = place(row.path.slice(0, 1), null), name = row.path[row.path.length - 1], key = at.key + '/reserved/' + row.path.join('/');
    at.children.set(key, {key, name, label: name + ' (reserved)', rest: true, row, value: row.own_reserved_bytes, used: null});
  }
  weigh(root);
  return root;
};

/** Adds up what is in each group. */
const weigh = node => {
  if (node.children) node.value = [...node.children.values()].reduce((sum, child) => sum + weigh(child), 0);
  return node.value;
};

/** Puts areas into a rectangle, as square as they get: rows along the shorter side. */
const squarify = (items, x, y, w, h) => {
  const total = items.reduce((sum, item) => sum + item.value, 0);
  const scale = total > 0 ? w * h / total : 0;
  const rest = items.filter(item => item.value > 0).sort((a, b) => b.value - a.value || (a.key < b.key ? -1 : 1));
  const placed = [];
  const worst = (row, sum, side) => {
    const s = sum * scale;
    return Math.max(...[row[0], row[row.length - 1]].map(item => {
      const area = item.value * scale;
      return Math.max(side * side * area / (s * s), s * s / (side * side * area));
    }));
  };
  while (rest.length) {
    const side = Math.max(1e-6, Math.min(w, h));
    let row = [rest.shift()], sum = row[0].value;
    while (rest.length) {
      const more = sum + rest[0].value;
      if (worst([...row, rest[0]], more, side) > worst(row, sum, side)) break;
      sum = more; row.push(rest.shift());
    }
    const depth = sum * scale / side;
    let at = 0;
    for (const item of row) {
      const length = item.value / sum * side;
      placed.push(w <= h ? {item, x: x + at, y, w: length, h: depth} : {item, x, y: y + at, w: depth, h: length});
      at += length;
    }
    if (w <= h) { y += depth; h -= depth; } else { x += depth; w -= depth; }
  }
  return placed;
};

/** Areas to draw, groups before what is in them. */
const layout = (node, x, y, w, h, out) => {
  for (const {item, x: left, y: top, w: width, h: height} of squarify([...node.children.values()], x, y, w, h)) {
    let shown = item;
    // A group of one is that one.
    while (shown.children && shown.children.size === 1) {
      const only = shown.children.values().next().value;
      if (only.children) break;
      shown = only;
    }
    out.push({node: shown, x: left + 1, y: top + 1, w: Math.max(1, width - 2), h: Math.max(1, height - 2)});
    if (shown.children) {
      const strip = height > 44 && width > 50 ? 18 : 0;
      layout(shown, left + 3, top + 3 + strip, Math.max(1, width - 6), Math.max(1, height - 6 - strip), out);
    }
  }
  return out;
};

const treemap = (box, tip, legend, choose) => {
  const elements = new Map();
  let current = null, areas = [];
  const describe = node => {
    const pool = node.pool;
    if (node.said) return node.said;
    if (!pool) return (node.path?.slice(1).join(' › ') || node.label) + ': ' + bytes(node.value) + ' held'
      + (node.used === null || node.used === undefined ? '' : ', ' + percent(node.used, node.value) + ' used');
    return label(pool.path, pool.numbers).slice(1).join(' › ') + ': ' + bytes(pool.held_bytes) + ' held, '
      + percent(pool.used_bytes, pool.held_bytes) + ' used, ' + duration(pool.age_seconds) + ' old'
      + (pool.over_age ? ' (over its limit of age)' : '') + (whose(pool) && ', ' + whose(pool)) + ', made at ' + pool.created_at;
  };
  const leaves = () => areas.filter(area => !area.node.children);
  const point = key => {
    current = key;
    for (const [other, element] of elements) if (element.tagName === 'BUTTON') put(element, 'tabindex', other === key ? '0' : '-1');
  };
  box.addEventListener('keydown', event => {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    const from = areas.find(area => area.node.key === current);
    if (!step || !from) return;
    event.preventDefault();
    const centre = area => [area.x + area.w / 2, area.y + area.h / 2];
    const [x, y] = centre(from);
    let best = null, least = Infinity;
    for (const area of leaves()) {
      const [dx, dy] = [centre(area)[0] - x, centre(area)[1] - y];
      const ahead = dx * step[0] + dy * step[1];
      if (area === from || ahead <= 0) continue;
      const far = ahead + 3 * Math.abs(dx * step[1] + dy * step[0]);
      if (far < least) { least = far; best = area; }
    }
    if (best) { point(best.node.key); elements.get(best.node.key).focus(); }
  });
  const make = node => {
    if (node.children) return el('div', {class: 'group', 'aria-hidden': 'true'}, el('span'));
    const fill = el('span', {class: 'fill'}), name = el('span'), size = el('small');
    const element = el('button', {type: 'button', tabindex: '-1'}, fill, el('span', {class: 'text'}, name, size));
    const tell = () => put(tip, 'text', describe(element.node));
    element.addEventListener('pointerenter', tell);
    element.addEventListener('focus', () => { point(element.node.key); tell(); });
    element.addEventListener('click', () => element.node.pool && choose(element.node.pool));
    return element;
  };
  return {draw(root, chosen, find) {
    const {width, height} = box.getBoundingClientRect();
    areas = layout(root, 0, 0, width, height, []);
    const gone = new Map(elements);
    for (const {node, x, y, w, h} of areas) {
      let element = elements.get(node.key);
      if (!element || (element.tagName === 'BUTTON') === Boolean(node.children)) {
        element?.remove();
        element = make(node);
        elements.set(node.key, element);
        box.append(element);
      }
      gone.delete(node.key);
      element.node = node;
      Object.assign(element.style, {left: x + 'px', top: y + 'px', width: w + 'px', height: h + 'px'});
      if (node.children) {
        put(element.firstChild, 'text', h > 40 && w > 46 ? node.label + ' · ' + (node.text ?? bytes(node.value)) : '');
        continue;
      }
      const [fill, text] = element.children;
      element.style.setProperty('--hue', node.hue ?? hue(node.name));
      const unknown = node.used === null || node.used === undefined;
      fill.style.height = (node.whole ? 100 : unknown ? 0 : Math.min(100, 100 * node.used / Math.max(1, node.value))) + '%';
      put(element, 'class', 'leaf' + (node.pool?.over_age ? ' old' : '') + (unknown && !node.whole ? ' unknown' : ''));
      put(element, 'aria-label', describe(node));
      put(element, 'aria-pressed', node.pool ? String(node.pool.id !== null && node.pool.id === chosen) : null);
      put(text.firstChild, 'text', h > 16 && w > 30 ? node.label : '');
      put(text.lastChild, 'text', h > 32 && w > 44 ? node.text ?? bytes(node.value) : '');
    }
    for (const [key, element] of gone) {
      // A tile that had the focus hands it on, or the keyboard would be lost.
      const focused = element === document.activeElement;
      element.remove(); elements.delete(key);
      if (focused) { const next = leaves()[0]; if (next) elements.get(next.node.key).focus(); }
    }
    const first = leaves()[0];
    if (first && !leaves().some(area => area.node.key === current)) point(first.node.key);
    let empty = box.querySelector('.empty');
    if (!first && !empty) box.append(el('p', {class: 'empty'}, find ? 'Nothing that is looked for is held.' : 'Nothing is held.'));
    if (first && empty) empty.remove();
    const names = new Map(leaves().map(({node}) => [node.kind ?? kind(node.name), node.hue ?? hue(node.name)]));
    const said = [...names].flat().join('\n');
    if (legend.dataset.names !== said) {
      legend.dataset.names = said;
      legend.replaceChildren(...[...names].map(([name, colour]) => {
        const key = el('span', {class: 'key'});
        key.style.background = colour;
        return el('li', {}, key, name);
      }));
    }
  }};
};
