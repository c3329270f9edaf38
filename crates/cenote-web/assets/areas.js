
// What the treemap draws of a look: pools where they are known, or else what is left of accounts without those below.

/** A tree of accounts, of which it is known what they hold and nothing else. */
const sums = (look, find) => {
  const root = {key: '', name: look.name, label: look.name, children: new Map(), value: 0};
  const nodes = new Map();
  for (const {row, below} of tree(look.accounts)) {
    const name = row.path.at(-1), above = row.path.slice(0, -1), own = row.held_bytes - below.reduce((sum, node) => sum + node.row.held_bytes, 0);
    while (above.length && !nodes.has(key(above))) above.pop();
    const parent = nodes.get(key(above));
    const node = parent ? {key: parent.key + '/' + name, name, label: name, children: new Map(), value: 0} : root;
    nodes.set(key(row.path), node);
    if (parent) parent.children.set(node.key, node);
    if (own <= 0 || !row.path.join('/').toLowerCase().includes(find)) continue;
    const leaf = {key: node.key + '/=', name, label: name, path: row.path, value: own, used: null, whole: true};
    node.children.set(leaf.key, leaf);
  }
  weigh(root);
  return root;
};

const areas = (look, find) => {
  put($('map-hint'), 'text', look.past ? 'Area is what accounts held. Arrow keys move.' : 'Area is what is held, fill what is used. Arrow keys move, Enter shows the blocks.');
  return look.past ? sums(look, find) : build(look, find);
};
