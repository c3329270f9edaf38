
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

/** How long the moments of a step may be apart; where it is more, some were missed. */
const isGap = (step, i) => i > 0 && step.now[i] - step.now[i - 1] > 2.5 * step.every_seconds;
/** How many moments of a step are kept. */
const ROOM = [15 * 60, 24 * 60];

/** The moments of a process with those before it of another, which nobody but this page knows any more. */
const join = (before, step, from, room, unknown) => {
  const end = before.now.findIndex(now => now >= from), kept = (end < 0 ? before.now.length : end);
  const start = Math.max(0, kept + step.now.length - room), length = kept - start;
  if (length <= 0) return step;
  const old = new Map(before.accounts.map(row => [key(row.path), row]));
  const rows = step.accounts.map(({path, held_bytes}) => {
    const was = old.get(key(path));
    old.delete(key(path));
    return {path, held_bytes: [...was ? was.held_bytes.slice(start, kept) : Array(length).fill(unknown.before), ...held_bytes]};
  });
  for (const {path, held_bytes} of old.values()) rows.push({path, held_bytes: [...held_bytes.slice(start, kept), ...Array(step.now.length).fill(unknown.after)]});
  const both = field => [...before[field].slice(start, kept), ...step[field]];
  return {
    every_seconds: step.every_seconds, now: both('now'), resident_bytes: both('resident_bytes'), block_cache_bytes: both('block_cache_bytes'),
    requests_refused: both('requests_refused'), accounts: rows.filter(row => row.held_bytes.some(held => held != null)),
  };
};

const moments = (ask, renewed) => {
  let steps = null, told = 0, asked = -Infinity, live = null;
  // Those that were seen, the newest last: each with how many paths its history had no room for.
  let processes = [];

  const owner = at => processes.findLast(({process}) => process.started <= at) ?? processes[0];

  /** A moment with the form of a look, as far as it is kept. */
  const past = (step, i) => {
    const {now, resident_bytes, block_cache_bytes, accounts} = step, {process, leftOut} = owner(now[i]);
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

  const meet = (process, leftOut) => {
    const newest = processes.at(-1);
    if (newest && isSame(newest.process, process)) newest.leftOut = leftOut ?? newest.leftOut;
    else processes.push({process, leftOut: leftOut ?? 0});
    return newest !== undefined && processes.at(-1) !== newest;
  };

  const begin = async () => {
    const response = await ask('pools.json?history');
    if (!response.ok) return;
    const {steps: next, process, paths_left_out: leftOut} = await response.json();
    meet(process, leftOut);
    const unknown = {before: processes.at(-2)?.leftOut ? undefined : null, after: leftOut ? undefined : null};
    steps = steps ? next.map((step, i) => join(steps[i], step, process.started, ROOM[i], unknown)) : next;
    const oldest = steps[1].now[0] ?? steps[0].now[0];
    // The last that began before the oldest moment is whose that is.
    processes = processes.filter((_, i) => !processes[i + 1] || processes[i + 1].process.started > oldest);
    told = steps[0].now.length;
    renewed();
  };

  return {
    get steps() { return steps; },
    /** A look, which is newer than what was asked for; that is asked for again now and then, and where something is missing. */
    add(look) {
      live = look;
      const other = meet(look.process), fine = steps?.[0], newest = fine?.now.at(-1) ?? look.now;
      if (other || look.now - newest > 2.5 && performance.now() - asked > 2500) asked = -Infinity;
      if (look.history_seconds > 1 && performance.now() - asked > (steps ? AGAIN : 0)) {
        asked = performance.now();
        begin().catch(() => {});
      }
      if (!fine || look.now - newest < .9) return;
      const held = new Map(look.accounts.map(row => [key(row.path), row]));
      fine.accounts.forEach(row => {
        row.held_bytes.push(held.get(key(row.path))?.held_bytes ?? null);
        held.delete(key(row.path));
      });
      // Those that have come since; or that the server had no room for, so that of earlier moments nothing is known.
      const earlier = fine.now.map((_, i) => processes.at(-1).leftOut && i < told ? undefined : null);
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
    /** What there is to say of a step's time: which process began when, and where nothing was kept. */
    marks(step) {
      const first = step.now[0];
      // The first moment comes a little after the beginning.
      const starts = processes.filter(({process}) => process.started > first - 2.5 * step.every_seconds).map(({process: {started, version}}) =>
        ({at: Math.max(first, started), kind: 'start', text: (version ? 'version ' + version : 'process') + ' began ' + moment(started)}));
      return [...step.now.flatMap((now, i) => isGap(step, i) ? [{at: step.now[i - 1], to: now, kind: 'gap', text: 'nothing kept'}] : []), ...starts];
    },
  };
};
