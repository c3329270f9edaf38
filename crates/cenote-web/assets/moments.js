
// What the page knows of the past: what the server keeps of it, and the looks since. Kept here, so that it can
// be looked at while the server does not answer.

const AGAIN = 60000;

const key = path => path.join('\n');

/** Rows of accounts as a tree, in its order: each with those that are below it, and with nothing between. */
const tree = rows => {
  const nodes = new Map(rows.map(row => [key(row.path), {row, below: []}])), top = [], list = [];
  for (const node of nodes.values()) {
    const path = node.row.path.slice(0, -1);
    // Of an account that there was no room for, nothing is kept.
    while (path.length && !nodes.has(key(path))) path.pop();
    (path.length ? nodes.get(key(path)).below : top).push(node);
  }
  const add = node => { list.push(node); node.below.forEach(add); };
  top.forEach(add);
  return list;
};

const moments = (ask, renewed) => {
  let steps = null, process = null, leftOut = 0, told = 0, asked = 0, live = null;

  /** A moment with the form of a look, as far as it is kept. */
  const past = (step, i) => {
    const {now, resident_bytes, block_cache_bytes, accounts} = step;
    // What the page has seen itself lacks nothing.
    const left = step === steps[0] && i >= told ? 0 : leftOut;
    // Siblings in the order that they have now.
    const rank = new Map(live?.accounts.map((row, i) => [key(row.path), i]));
    const rows = accounts.filter(row => row.held_bytes[i] != null).map(({path, held_bytes}) => ({
      path, held_bytes: held_bytes[i], lately: held_bytes.slice(Math.max(0, i + 1 - REMEMBERED), i + 1).map(held => held ?? 0),
    })).sort((a, b) => (rank.get(key(a.path)) ?? Infinity) - (rank.get(key(b.path)) ?? Infinity) || 0);
    const list = tree(rows).map(node => node.row);
    // Those that were not there, as far as that is known.
    const absent = new Set(accounts.filter(row => row.held_bytes[i] === null).map(row => key(row.path)));
    return {
      past: true, name: list[0]?.path[0] ?? '', now: now[i], process, accounts: list, pools: [], pools_shown: 0, silent: [], left_out: left,
      unkept: left ? path => !absent.has(path) : null,
      memory: {pools_bytes: list[0]?.held_bytes ?? 0, resident_bytes: resident_bytes[i], block_cache_bytes: block_cache_bytes[i]},
    };
  };

  const begin = async () => {
    const response = await ask('pools.json?history');
    if (!response.ok) return;
    ({steps, process, paths_left_out: leftOut} = await response.json());
    told = steps[0].now.length;
    renewed();
  };

  return {
    get steps() { return steps; },
    /** A look, which is newer than what was asked for; that is asked for again now and then. */
    add(look) {
      live = look;
      if (look.history_seconds > 1 && performance.now() - asked > (steps ? AGAIN : 0)) {
        asked = performance.now();
        begin().catch(() => {});
      }
      const fine = steps?.[0];
      if (!fine || look.now - (fine.now.at(-1) ?? 0) < .9) return;
      const held = new Map(look.accounts.map(row => [key(row.path), row]));
      fine.accounts.forEach(row => {
        row.held_bytes.push(held.get(key(row.path))?.held_bytes ?? null);
        held.delete(key(row.path));
      });
      // Those that have come since; or that the server had no room for, so that of earlier moments nothing is known.
      const earlier = fine.now.map((_, i) => leftOut && i < told ? undefined : null);
      for (const {path, held_bytes} of held.values()) fine.accounts.push({path, held_bytes: [...earlier, held_bytes]});
      fine.now.push(look.now);
      fine.resident_bytes.push(look.memory.resident_bytes);
      fine.block_cache_bytes.push(look.memory.block_cache_bytes);
      fine.requests_refused.push(look.requests_refused);
      renewed();
    },
    /** The newest moment that is not after this one, of the finest step that has one; none if it is not kept. */
    find(at) {
      for (const step of steps ?? []) {
        const i = step.now.findLastIndex(now => now <= at);
        if (i >= 0) return past(step, i);
      }
      return null;
    },
    /** Since when anything is kept. */
    oldest: () => Math.min(...(steps ?? []).flatMap(step => step.now.slice(0, 1))),
  };
};
