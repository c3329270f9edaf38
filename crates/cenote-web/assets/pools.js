
// The page itself: asks once a second, draws what comes, and says when nothing does.

const EVERY = 1000, PATIENCE = 5000;

const tiles = [
  {id: 'held', title: 'Held by pools', of: look => look.accounts[0].held_bytes, text: bytes,
    note: look => look.accounts[0].limit_bytes === null ? 'peak ' + bytes(look.accounts[0].peak_bytes) : 'of ' + bytes(look.accounts[0].limit_bytes)},
  {id: 'used', title: 'Used by objects', of: look => look.accounts[0].used_bytes, text: bytes, note: look => percent(look.accounts[0].used_bytes, look.accounts[0].held_bytes - look.accounts[0].unknown_bytes - look.accounts[0].reserved_bytes) + ' of held'},
  {id: 'live', title: 'Pools', of: look => total(look, 'live'), text: count, note: () => 'now'},
  {id: 'made', title: 'Made per second', of: (look, last) => rate(look, last, 'created'), text: count, note: look => count(total(look, 'created')) + ' in all'},
  {id: 'refused', title: 'Refused charges', of: look => total(look, 'refused'), text: count, note: () => 'since start', bad: value => value > 0},
  {id: 'old', title: 'Over their age', of: look => total(look, 'over_age'), text: count, note: () => 'pools', bad: value => value > 0},
  {id: 'cache', title: 'Blocks cached', of: look => look.memory.block_cache_bytes, text: bytes, note: look => 'in ' + count(look.block_caches.length) + (look.block_caches.length === 1 ? ' cache' : ' caches')},
  {id: 'other', title: 'In no pool', of: look => look.memory.other_bytes, text: bytes,
    note: look => look.memory.other_grown_bytes === null ? '' : (look.memory.other_grown_bytes < 0 ? '' : '+') + bytes(look.memory.other_grown_bytes) + ' since start'},
];

const total = (look, field) => look.accounts.reduce((sum, row) => sum + row[field], 0);
const rate = (look, last, field) => !last || look.now <= last.now ? null
  : Math.max(0, (total(look, field) - total(last, field)) / (look.now - last.now));

const remember = (list, value) => { list.push(value); if (list.length > REMEMBERED) list.shift(); return list; };

const shownTiles = tiles.map(tile => {
  const line = spark(), value = el('span'), note = el('small');
  const element = el('div', {class: 'tile', id: 'tile-' + tile.id}, el('dt', {}, tile.title), el('dd', {}, value, note), line.element);
  $('tiles').append(element);
  return {tile, line, value, note, element, values: []};
});

const drawMemory = look => {
  const {memory, general, accounts: [root]} = look;
  const used = root.used_bytes ?? 0;
  const parts = [
    ['used', 'objects in pools', used],
    ['free', 'free in pools', Math.max(0, memory.pools_bytes - used - root.unknown_bytes - root.reserved_bytes)],
    ['reserved', 'reserved', root.reserved_bytes],
    ['unknown', 'in pools not looked into', root.unknown_bytes],
    ['cache', 'cached blocks', memory.block_cache_bytes],
    ['other', general ? 'objects in no pool' : 'in no pool', general ? general.in_no_pool_bytes : memory.other_bytes ?? 0],
    ['kept', general ? 'free in ' + general.name : '', general ? general.free_bytes : 0],
    ['elsewhere', 'from elsewhere', general ? general.elsewhere_bytes ?? 0 : 0],
  ];
  const box = $('memory'), legend = $('memory-legend');
  if (!box.children.length) {
    box.append(...parts.map(([kind]) => el('span', {class: 'm-' + kind})));
    legend.append(...parts.map(([kind]) => el('li', {}, el('span', {class: 'key m-' + kind}), el('span'), el('b'))));
  }
  parts.forEach(([, name, size], i) => {
    box.children[i].style.flexGrow = size;
    put(legend.children[i].children[1], 'text', name);
    put(legend.children[i].lastChild, 'text', bytes(size));
    legend.children[i].hidden = size === 0;
  });
  put(box, 'aria-label', parts.filter(([, name]) => name).map(([, name, size]) => name + ' ' + bytes(size)).join(', '));
};

let held = false;
document.addEventListener('keydown', event => { held = event.repeat; }, true);
document.addEventListener('keyup', () => { if (held) { held = false; note(); } });

let last = null, chosen = null, paused = false, lostSince = null, timer = 0, round = 0;
const history = new Map();
const map = treemap($('treemap'), $('tip'), $('map-legend'), pool => open(pool));
const pools = poolTable($('pools'), pool => open(pool), () => { drawTree(); note(); });
const accounts = accountTable($('accounts'));
const panel = blocks(() => { chosen = null; draw(); note(); });

const drawTree = () => { if (last) map.draw(areas(when.look(last), pools.find()), chosen, pools.find()); };

const draw = () => {
  if (!last) return;
  const look = when.look(last);
  drawTree();
  pools.draw(look, chosen);
  accounts.draw(look, history);
};

const open = pool => {
  chosen = pool.id;
  panel.open(pool);
  draw();
  note();
  panel.refresh(ask).catch(() => {});
};

/** Notes in the address what is shown, so that a link shows the same to others. */
const note = () => {
  // A browser takes only so many addresses in a while: of a key that is held down the last will do.
  if (held) return;
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries({...pools.state(), ...chart.state(), ...when.state(), pool: chosen})) if (value) said.set(name, value);
  if (paused) said.set('paused', '');
  const address = said.size ? '#' + said : location.pathname + location.search;
  if (location.hash !== (said.size ? address : '')) window.history.replaceState(null, '', address);
};

/** What the address asks for: done as soon as there is something to show. */
let asked = null;
const heed = hash => {
  asked = new URLSearchParams(hash.slice(1));
  const given = Object.fromEntries(asked);
  pools.restore(given);
  chart.restore(given);
  when.restore(given);
  if (last) obey(last);
};
const obey = look => {
  const {pool, paused: pause} = Object.fromEntries(asked);
  asked = null;
  when.tell(look);
  if (known.steps) when.say(chart.draw());
  draw();
  const found = look.pools.find(row => row.id === pool);
  if (found) open(found);
  else if (pool) put($('tip'), 'text', 'The pool that the address names is not among those shown any more.');
  if ((pause !== undefined) !== paused) $('pause').click();
};

const show = look => {
  countNames(look);
  put($('service'), 'text', look.name);
  const {host, pid, version, started} = look.process;
  put($('who'), 'text', [host, 'pid ' + pid, version && 'version ' + version, 'since ' + moment(started)].filter(Boolean).join(' · '));
  document.title = 'Pools: ' + look.name + ' · ' + (host ?? 'pid') + ' ' + pid;
  for (const shown of shownTiles) {
    const value = shown.tile.of(look, last);
    put(shown.value, 'text', shown.tile.text(value));
    put(shown.note, 'text', shown.tile.note(look));
    put(shown.element, 'class', 'tile' + (shown.tile.bad?.(value) ? ' bad' : ''));
    if (value !== null && value !== undefined) shown.line.draw(remember(shown.values, value));
  }
  const seen = new Set();
  for (const row of look.accounts) {
    const key = row.path.join('\n');
    seen.add(key);
    if (!history.has(key)) history.set(key, []);
    remember(history.get(key), row.held_bytes);
  }
  for (const key of history.keys()) if (!seen.has(key)) history.delete(key);
  drawMemory(look);
  last = look;
  known.add(look);
  when.tell(look);
  draw();
  put($('since'), 'text', 'Up ' + duration(look.uptime_seconds)
    + (look.silent.length ? '. No answer in time from ' + look.silent.map(path => path.join('/')).join(', ') + '.' : ''));
  if (asked) obey(look);
};

const state = (kind, text) => { put(document.body, 'class', kind); put($('state-text'), 'text', text); };

const ask = async address => {
  const stop = new AbortController(), wait = setTimeout(() => stop.abort(), PATIENCE);
  try {
    return await fetch(address, {signal: stop.signal, cache: 'no-store', credentials: 'same-origin'});
  } finally { clearTimeout(wait); }
};

const known = moments(ask, () => {
  const why = chart.draw();
  when.tell(last);
  when.say(why);
});
const when = choice(known, () => {
  // Of the past no pool is known, so none is looked into.
  if (when.past()) panel.close();
  chart.mark(when.marks());
  if (last) when.tell(last);
  draw();
  note();
});
const chart = timeline($('history'), $('history-ranges'), $('history-account'), known, when.pick, () => note());

const tick = async () => {
  // A round that was begun while another was under way takes its place.
  const mine = round += 1;
  clearTimeout(timer);
  try {
    const response = await ask('pools.json');
    if (!response.ok) throw new Error(response.status + ' ' + (await response.text()).trim());
    const look = await response.json();
    if (mine !== round) return;
    show(look);
    panel.tell(look);
    await panel.refresh(ask);
    lostSince = null;
    if (!paused) state('live', 'Live');
  } catch (error) {
    lostSince ??= last ? new Date(last.now * 1000) : new Date();
    if (!paused) state('lost', 'No answer since ' + clock(lostSince) + (last ? '; what is shown is from then' : '') + '. Trying again.');
  }
  if (!paused && mine === round) timer = setTimeout(tick, EVERY);
};

$('pause').addEventListener('click', () => {
  paused = !paused;
  put($('pause'), 'aria-pressed', String(paused));
  put($('pause'), 'text', paused ? 'Go on' : 'Pause');
  clearTimeout(timer);
  round += 1;
  if (paused) state('paused', 'Paused at ' + clock(new Date()));
  else tick();
  note();
});
// A page that nobody sees asks for nothing.
document.addEventListener('visibilitychange', () => {
  clearTimeout(timer);
  if (!document.hidden && !paused) tick();
});
new ResizeObserver(drawTree).observe($('treemap'));
// What sticks under the head has to know how high that is.
const head = document.querySelector('header');
new ResizeObserver(() => document.documentElement.style.setProperty('--head', head.offsetHeight + 'px')).observe(head);
// What the page has noted since somebody changed the address is not what he asked for.
window.addEventListener('hashchange', event => heed(new URL(event.newURL).hash));
heed(location.hash);
tick();
