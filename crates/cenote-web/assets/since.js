
// Two moments compared: what has grown, is new or is gone, by the rules of `cenote pools --since`.

/** A change in bytes, with its sign; nothing, if there is none. */
const plus = n => !n ? '' : (n > 0 ? '+' : '') + bytes(n);
/** What a row says of its change. */
const change = ({more, word}) => [plus(more), word].filter(Boolean).join(' ');

/** Whether both are known to be one process. */
const isSame = (a, b) => Boolean(a?.pid) && ['host', 'pid', 'started'].every(field => a[field] === b?.[field]);
/** Whether each pool that the view knows is told one by one. */
const tellsAll = look => !look.past && !look.silent.length && look.pools.filter(pool => pool.id).length >= look.pools_shown;

/** Says of a path that a look does not have whether it may have been left out: there was no room for its history, or none
 * for its name. */
const hidden = look => {
  const others = new Set(look.accounts.filter(row => row.path.at(-1) === '(others)').map(row => key(row.path)));
  return names => Boolean(look.unkept?.(key(names))) || names.some((_, i) => i > 0 && others.has(key([...names.slice(0, i), '(others)'])));
};

const compareAccounts = (then, now) => {
  const by = look => new Map(look.accounts.map(row => [key(row.path), row]));
  const [before, after] = [by(then), by(now)], [untoldThen, untoldNow] = [hidden(then), hidden(now)];
  const rows = now.accounts.map(row => {
    const was = before.get(key(row.path));
    if (!was && untoldThen(row.path)) return {...row, more: null, word: 'not told then'};
    return {...row, then_bytes: was?.held_bytes ?? 0, more: row.held_bytes - (was?.held_bytes ?? 0), word: was ? '' : 'new'};
  });
  for (const {path, held_bytes} of then.accounts) {
    if (after.has(key(path))) continue;
    const untold = untoldNow(path);
    rows.push({path, held_bytes: null, then_bytes: held_bytes, more: untold ? null : -held_bytes, word: untold ? 'not told now' : 'gone'});
  }
  return tree(rows).map(node => node.row);
};

const comparePools = (then, now) => {
  const by = look => new Map(look.pools.filter(pool => pool.id).map(pool => [pool.id, pool]));
  const [before, after] = [by(then), by(now)];
  const pools = now.pools.map(pool => {
    const was = before.get(pool.id);
    // One that is older than that was left out then.
    const fresh = !was && pool.id && pool.age_seconds !== null && pool.age_seconds <= now.now - then.now;
    return {...pool, more: was || fresh ? pool.held_bytes - (was?.held_bytes ?? 0) : null, word: fresh ? 'new' : ''};
  });
  const missing = [...before.values()].filter(pool => !after.has(pool.id));
  // One that is not told may be there all the same.
  if (!tellsAll(now)) return {pools, untold: missing.length};
  return {pools: [...pools, ...missing.map(pool => ({...pool, held_bytes: null, used_bytes: null, age_seconds: null, over_age: false, more: -pool.held_bytes, word: 'gone'}))], untold: 0};
};

/** The later of two looks, with what has changed since the other. */
const compare = (then, now) => {
  const same = isSame(then.process, now.process), {pools, untold} = same ? comparePools(then, now) : {pools: now.pools, untold: 0};
  return {...now, accounts: compareAccounts(then, now), pools, since: {then, same, untold}};
};

const WANTED = ' What can be compared with is one look, as `cenote pools --json URL` prints it and /pools.json has it.';
const LARGEST = 16 * 2 ** 20;

/** A look that was written to a file; throws words that say what is wrong with it. */
const readLook = async file => {
  const wrong = why => new Error('“' + file.name + '” ' + why + WANTED);
  if (file.size > LARGEST) throw wrong('is larger than a look ever is, with ' + bytes(file.size) + '.');
  if (!file.size) throw wrong('is empty.');
  let look;
  try { look = JSON.parse(await file.text()); } catch (error) { throw wrong('is no JSON: ' + error.message + '.'); }
  if (look?.steps) throw wrong('is a whole history, with many moments.');
  if (look?.blocks && look.id) throw wrong('has the blocks of one pool.');
  if (look?.grown) throw wrong('is a comparison already.');
  if (!Array.isArray(look?.accounts)) throw wrong('has no accounts.');
  if (look.schema !== 1) throw wrong('has the schema ' + JSON.stringify(look.schema) + ', of which this page knows only 1.');
  if (!Number.isFinite(look.now)) throw wrong('does not say of when it is (now).');
  if (!Array.isArray(look.pools ?? [])) throw wrong('has pools that are no list.');
  const check = (list, name) => list.forEach((row, i) => {
    const path = Array.isArray(row?.path) && row.path.every(part => typeof part === 'string');
    if (!path || name === 'accounts' && !row.path.length) throw wrong('has no path in ' + name + '[' + i + '].');
    if (!(row.held_bytes >= 0)) throw wrong('has no held_bytes in ' + name + '[' + i + '].');
    if (row.numbers !== undefined && !Array.isArray(row.numbers)) throw wrong('has numbers that are no list in ' + name + '[' + i + '].');
    if (row.age_seconds != null && !Number.isFinite(row.age_seconds)) throw wrong('has an age_seconds that is no number in ' + name + '[' + i + '].');
  });
  check(look.accounts, 'accounts');
  check(look.pools ?? [], 'pools');
  const pools = (look.pools ?? []).map(pool => ({name: '', kind: 'pool', numbers: [], created_at: '–', ...pool}));
  // Without pools it is what is kept of a moment.
  return {...look, left_out: look.paths_left_out, unkept: look.paths_left_out ? () => true : null, file: file.name, past: !look.pools, pools, pools_shown: look.pools_shown ?? 0, name: look.name ?? look.accounts[0]?.path[0] ?? '', silent: look.silent ?? [], memory: look.memory ?? {}};
};
