
// What the treemap draws of a look: pools where they are known; or else accounts, each without those below, and by
// how much they have changed.

/** Of two moments the larger is the area, and the smaller its fill: what is left is the change. */
const CHANGES = [['grown', 'var(--grew)'], ['less', 'var(--shrank)'], ['as before', 'var(--same)']];

const sums = (look, find) => {
  const root = {key: '', name: look.name, label: look.name, children: new Map(), value: 0};
  const nodes = new Map();
  for (const {row, below} of tree(look.accounts)) {
    const name = row.path.at(-1), above = row.path.slice(0, -1);
    const own = of => Math.max(0, of(row) - below.reduce((sum, node) => sum + of(node.row), 0));
    while (above.length && !nodes.has(key(above))) above.pop();
    const parent = nodes.get(key(above));
    const node = parent ? {key: parent.key + '/' + name, name, label: name, children: new Map(), value: 0} : root;
    nodes.set(key(row.path), node);
    if (parent) parent.children.set(node.key, node);
    if (!row.path.join('/').toLowerCase().includes(find)) continue;
    const leaf = {key: node.key + '/=', name, label: name, path: row.path, value: own(row => row.held_bytes ?? 0), used: null, whole: true};
    if (look.since) compared(look, row, node, leaf, own);
    if (leaf.value > 0) node.children.set(leaf.key, leaf);
  }
  weigh(root);
  return root;
};

/** Makes an area tell of the change. */
const compared = (look, row, node, leaf, own) => {
  // What is not known of the other moment is taken to have been the same.
  const then = own(row => row.then_bytes ?? row.held_bytes ?? 0), now = leaf.value, more = now - then;
  const [kind, hue] = CHANGES[more > 0 ? 0 : more < 0 ? 1 : 2];
  node.text = change(row) || 'as before';
  Object.assign(leaf, {
    value: Math.max(now, then), used: Math.min(now, then), whole: false, kind, hue, text: change({more, word: row.word}) || 'as before',
    said: row.path.slice(1).join(' › ') + ': ' + (row.word === 'gone' ? '' : bytes(now) + ' held, ') + (change({more, word: row.word}) || 'as before'),
  });
};

const areas = (look, find) => {
  put($('map-hint'), 'text', look.since ? 'Area is the larger of what was held at both moments, fill the smaller.'
    : look.past ? 'Area is what accounts held.' : 'Area is what is held, fill what is used. Arrow keys move, Enter shows the blocks.');
  return look.since || look.past ? sums(look, find) : build(look, find);
};
