
// The table of pools, which can be sorted, and that of accounts.

/** The class of a cell with a change. */
const moved = row => 'n more' + (row.more > 0 ? ' grew' : row.more < 0 ? ' shrank' : '');

/** Columns of pools: title, what it sorts by, what it shows. */
const COLUMNS = [
  {id: 'name', title: 'Name', sort: row => label(row.path, row.numbers).join('/') + '/' + row.name, text: row => row.path.length > 1 ? label(row.path, row.numbers).slice(1).join(' › ') : row.name},
  {id: 'creator', title: 'Made at', opt: true, sort: row => row.created_at, text: row => row.created_at},
  {id: 'age', title: 'Age', number: true, sort: row => row.age_seconds ?? -1, text: row => duration(row.age_seconds)},
  {id: 'held', title: 'Held', number: true, sort: row => row.held_bytes, text: row => bytes(row.held_bytes)},
  {id: 'more', title: 'Change', number: true, kind: 'more', sort: row => row.more ?? 0, text: change},
  {id: 'used', title: 'Used', number: true, sort: row => row.used_bytes ?? -1, text: row => bytes(row.used_bytes)},
  {id: 'peak', title: 'Peak', number: true, opt: true, sort: row => row.peak_bytes, text: row => bytes(row.peak_bytes)},
  {id: 'late', title: 'Peak, 1 min', number: true, opt: true, sort: row => row.recent_peak_bytes, text: row => bytes(row.recent_peak_bytes)},
  {id: 'limit', title: 'Limit', number: true, opt: true, sort: row => row.limit_bytes ?? Infinity, text: row => bytes(row.limit_bytes)},
  {id: 'refused', title: 'Refused', number: true, opt: true, sort: row => row.refused, text: row => count(row.refused)},
  {id: 'blocks', title: 'Blocks', number: true, opt: true, sort: row => row.blocks ?? -1, text: row => count(row.blocks)},
  {id: 'large', title: 'Large', number: true, opt: true, sort: row => row.large ?? -1, text: row => count(row.large)},
  {id: 'cleanups', title: 'Cleanups', number: true, opt: true, sort: row => row.cleanups ?? -1, text: row => count(row.cleanups)},
];

const poolTable = (table, choose, changed) => {
  const [HELD, MORE] = ['held', 'more'].map(id => COLUMNS.find(head => head.id === id));
  let column = HELD, down = true, find = '', look = null, chosen = null, linked = null;
  const rows = new Map();
  const heads = COLUMNS.map(head => el('th', {scope: 'col', class: (head.number ? 'n' : '') + (head.opt ? ' opt' : '') + (head === MORE ? ' more' : '')},
    el('button', {type: 'button', 'data-sort': head.id, onclick: () => sortBy(head.id)}, head.title)));
  const body = el('tbody');
  table.replaceChildren(el('thead', {}, el('tr', {}, ...heads)), body);
  const sortBy = (id, downwards) => {
    const next = COLUMNS.find(head => head.id === id);
    // Figures begin with the largest, names with the first.
    down = downwards ?? (next === column ? !down : Boolean(next.number));
    column = next;
    linked = null;
    draw();
    changed();
  };
  const make = () => {
    const name = el('bdi'), button = el('button', {type: 'button', onclick: () => choose(row.pool)}, name);
    // In one line where there is room. What was asked for is cut where it begins, as names are; the rest is whole.
    const request = el('bdi'), status = el('span'), peer = el('span');
    const asked = el('span', {class: 'asked'}, el('span', {class: 'request'}, request), status), whose = el('div', {class: 'whose'}, asked, peer);
    const cells = COLUMNS.map((head, i) => el('td', {class: (i === 0 ? 'name' : head.id === 'creator' ? 'at' : head.number ? 'n' : '') + (head.opt ? ' opt' : '')}, ...(i === 0 ? [button, whose] : [])));
    const row = {element: el('tr', {}, ...cells), cells, button, name, request, status, peer, asked, whose, pool: null};
    return row;
  };
  /** Says whose it is, under its name. */
  const tell = (row, pool) => {
    put(row.request, 'text', String(pool.request ?? ''));
    put(row.status, 'text', String(pool.status ?? ''));
    put(row.status, 'class', pool.status >= 500 ? 'alarm' : '');
    put(row.peer, 'text', String(pool.peer ?? ''));
    put(row.whose, 'title', whose(pool));
    row.asked.hidden = !pool.request && !pool.status;
    row.whose.hidden = !whose(pool);
  };
  const draw = () => {
    if (!look) return;
    heads.forEach((head, i) => put(head, 'aria-sort', COLUMNS[i] === column ? (down ? 'descending' : 'ascending') : null));
    put($('fattest'), 'aria-pressed', String(column.id === 'held' && down));
    put($('oldest'), 'aria-pressed', String(column.id === 'age' && down));
    const list = look.pools.filter(pool => matches(pool, find));
    put($('pools-more'), 'text', look.past ? 'Single pools are not kept: of ' + moment(look.now) + ' it is known what accounts held, and no more.' : more(list));
    const sign = down ? -1 : 1;
    list.sort((a, b) => {
      const [x, y] = [column.sort(a), column.sort(b)];
      return sign * (x < y ? -1 : x > y ? 1 : 0) || b.held_bytes - a.held_bytes || (b.age_seconds ?? 0) - (a.age_seconds ?? 0);
    });
    const gone = new Set(rows.keys());
    let after = null;
    for (const pool of list) {
      const key = pool.id ?? 'account ' + pool.numbers.join('.');
      const row = rows.get(key) ?? make();
      rows.set(key, row); gone.delete(key);
      row.pool = pool;
      COLUMNS.forEach((head, i) => {
        const text = head.text(pool);
        if (i === 0) { tell(row, pool); put(row.name, 'text', text); put(row.button, 'title', pool.path.join('/') + ': ' + pool.kind + ' ' + pool.name); }
        else put(row.cells[i], 'text', head.id === 'age' && pool.over_age ? text + ' ⚠' : text);
      });
      put(row.element, 'class', (pool.over_age ? 'old' : '') + (pool.id && pool.id === chosen ? ' chosen' : '') + (pool.word === 'gone' ? ' gone' : ''));
      // What a file tells of is not this server's.
      row.button.disabled = pool.word === 'gone' || Boolean(look.file);
      put(row.cells[4], 'class', moved(pool));
      put(row.cells[2], 'class', pool.over_age ? 'n mark' : 'n');
      put(row.cells[2], 'title', pool.over_age ? 'older than its account’s limit of age' : null);
      // Moved only if it has to be: a row that has the focus keeps it.
      const next = after ? after.nextSibling : body.firstChild;
      if (next !== row.element) body.insertBefore(row.element, next);
      after = row.element;
    }
    for (const key of gone) { rows.get(key).element.remove(); rows.delete(key); }
  };
  const more = list => {
    const old = look.accounts.reduce((sum, row) => sum + (row.over_age ?? 0), 0);
    return list.filter(pool => pool.word !== 'gone' && pool.kind !== 'account').length + ' shown of ' + count(look.pools_shown) + ' pools: the fattest and the oldest.'
      + (old ? ' ' + count(old) + ' older than their limit of age (⚠).' : '')
      + (look.pools_elsewhere ? ' ' + count(look.pools_elsewhere) + ' charge no account here.' : '') + compared(look.since);
  };
  /** What cannot be said of pools that are compared. */
  const compared = since => !since ? ''
    : !since.same ? ' Those of another process cannot be told apart, so none is compared.'
    : since.then.past ? ' Which pools there were is not kept: those that are younger than that are new, and of the others it is not known by how much they grew.'
    : since.untold ? ' Of ' + count(since.untold) + ' that were told then it is not known whether they are gone, since not all are shown now.' : '';
  $('fattest').addEventListener('click', () => sortBy('held', true));
  $('oldest').addEventListener('click', () => sortBy('age', true));
  $('find').addEventListener('input', event => { find = event.target.value.toLowerCase(); draw(); changed(); });
  return {
    draw(next, id) {
      // What has changed is what is looked for, until somebody sorts otherwise: by a click, or by a link, which waits
      // for its moments.
      if (next.since && !look?.since && linked) { [column, down] = linked; linked = null; }
      else if (next.since && !look?.since && column === HELD && down) column = MORE;
      else if (!next.since && column === MORE) [column, down] = [HELD, true];
      look = next; chosen = id;
      put(table, 'class', look.since ? 'compared' : '');
      draw();
    },
    find: () => find,
    /** What is looked for and how it is sorted, for the address; and back. */
    state: () => ({sort: column === (look?.since ? MORE : HELD) && down ? null : column.id + (down ? '-' : '+'), find: $('find').value}),
    restore({sort, find: text}) {
      const found = COLUMNS.find(head => head.id === (sort ?? '').slice(0, -1));
      if (found) { column = found; down = sort.endsWith('-'); }
      linked = found ? [column, down] : null;
      $('find').value = text ?? '';
      find = $('find').value.toLowerCase();
      draw();
    },
  };
};

const accountTable = table => {
  const body = el('tbody'), rows = new Map();
  const titles = [['Account'], ['Now', 'n'], ['Pools', 'n'], ['Made', 'n opt'], ['Held', 'n'], ['Change', 'n more'], ['', 'opt'], ['Reserved', 'n opt'], ['Used', 'n'], ['Peak', 'n opt'], ['Peak, 1 min', 'n opt'], ['Limit', 'n opt'],
    ['Refused', 'n'], ['Recycled', 'n opt'], ['Oldest', 'n opt'], ['Over age', 'n opt'], ['Made at', 'opt']];
  table.replaceChildren(el('thead', {}, el('tr', {}, ...titles.map(([title, kind]) =>
    el('th', {scope: 'col', class: kind ?? ''}, title || el('span', {class: 'zero'}, 'lately'))))), body);
  return {draw(look, history) {
    const gone = new Set(rows.keys());
    let after = null;
    for (const row of look.accounts) {
      const key = row.path.join('\n');
      let shown = rows.get(key);
      if (!shown) {
        const line = spark();
        const cells = titles.map(([, kind], i) => el(i === 0 ? 'th' : 'td', {class: i === 0 ? 'path' : i === 16 ? 'at opt' : (kind ?? '') + (i === 6 ? ' trend' : ''), scope: i === 0 ? 'row' : null}));
        cells[0].style.setProperty('--depth', row.path.length - 1);
        cells[0].title = row.path.join('/');
        cells[6].append(line.element);
        shown = {element: el('tr', {}, ...cells), cells, line};
        rows.set(key, shown);
      }
      gone.delete(key);
      const texts = [row.path[row.path.length - 1], count(row.accounts), count(row.live), count(row.created), bytes(row.held_bytes), change(row), null,
        bytes(row.reserved_bytes), bytes(row.used_bytes), bytes(row.peak_bytes), bytes(row.recent_peak_bytes), bytes(row.limit_bytes), count(row.refused), bytes(row.recycled_bytes),
        duration(row.age_seconds), count(row.over_age), row.created_at ?? '–'];
      texts.forEach((text, i) => { if (text !== null) put(shown.cells[i], 'text', text); });
      put(shown.cells[5], 'class', moved(row));
      put(shown.cells[12], 'class', row.refused ? 'n alarm' : 'n');
      put(shown.element, 'class', row.over_age ? 'old' : row.word === 'gone' ? 'gone' : '');
      shown.line.draw(row.lately ?? (look.file ? [] : history.get(key)) ?? []);
      const next = after ? after.nextSibling : body.firstChild;
      if (next !== shown.element) body.insertBefore(shown.element, next);
      after = shown.element;
    }
    for (const key of gone) { rows.get(key).element.remove(); rows.delete(key); }
    put(table, 'class', look.since ? 'compared' : '');
    put($('accounts-more'), 'text', (look.past
      ? 'Held includes what is below. More than that is not kept of a moment that has passed, and stands as –.' + unkept(look)
      : 'Held, used and peak include what is below; the other figures are of an account’s own pools.')
    + (look.since && !look.past ? unkept(look.since.then) : ''));
  }};
};
