
// The blocks of one pool, as bars; the pages of a chunk pool, chunk by chunk.

const PARTS = [['header', 'header'], ['used', 'used'], ['gap', 'gap'], ['tail', 'tail (unaligned objects)'], ['large', 'large objects']];

const drawBlock = (block, largest, index) => {
  const width = Math.max(4, 100 * block.size / largest);
  const picture = svg('svg', {viewBox: '0 0 ' + block.size + ' 10', preserveAspectRatio: 'none', role: 'img'});
  picture.style.width = width + '%';
  let at = 0;
  for (const part of ['header', 'used', 'gap', 'tail']) {
    if (block[part] > 0) picture.append(svg('rect', {class: 'p-' + part, x: at, y: 0, width: block[part], height: 10}));
    at += block[part];
  }
  const facts = bytes(block.used + block.tail) + ' used, ' + bytes(block.gap) + ' free'
    + (block.references === undefined ? '' : ', ' + count(block.references) + ' objects')
    + (block.failures ? ', ' + block.failures + ' failures' : '') + (block.active ? ', active' : '');
  picture.setAttribute('aria-label', 'Block ' + (index + 1) + ' of ' + bytes(block.size) + ': header ' + bytes(block.header)
    + ', used ' + bytes(block.used) + ', gap ' + bytes(block.gap) + ', tail ' + bytes(block.tail));
  return el('div', {class: 'block'}, picture, el('p', {}, el('b', {}, bytes(block.size)), ' ' + facts));
};

const drawPage = page => {
  if (!page) {
    const free = svg('svg', {class: 'page', viewBox: '0 0 8 8', preserveAspectRatio: 'none', role: 'img', 'aria-label': 'a free page'},
      svg('rect', {class: 'p-gap', width: 8, height: 8}));
    free.style.width = '14px';
    return free;
  }
  const columns = Math.ceil(Math.sqrt(page.chunks)), rows = Math.ceil(page.chunks / columns);
  let used = '', free = '', n = 0;
  for (let i = 0; i < page.chunks; i += 1) {
    const cell = 'M' + (i % columns + .06) + ' ' + (Math.floor(i / columns) + .06) + 'h.88v.88h-.88z';
    if (page.used >>> i & 1) { used += cell; n += 1; } else free += cell;
  }
  const picture = svg('svg', {class: 'page', viewBox: '0 0 ' + columns + ' ' + rows, preserveAspectRatio: 'none', role: 'img',
    'aria-label': 'a page of chunks of ' + bytes(page.chunk) + ': ' + n + ' of ' + page.chunks + ' in use'},
    svg('title'), svg('path', {class: 'p-used', d: used}), svg('path', {class: 'p-gap', d: free}));
  picture.querySelector('title').textContent = page.chunks + ' × ' + bytes(page.chunk) + ', ' + n + ' in use';
  picture.style.width = Math.max(14, 6 * columns) + 'px';
  return picture;
};

const drawMap = map => {
  const out = [];
  const largest = Math.max(1, ...map.blocks.map(block => block.size));
  map.blocks.forEach((block, index) => out.push(drawBlock(block, largest, index)));
  map.clusters.forEach((cluster, index) => {
    const pages = cluster.pages.filter(page => page);
    const chunks = pages.reduce((sum, page) => sum + page.chunks, 0);
    const used = pages.reduce((sum, page) => sum + page.used.toString(2).replace(/0/g, '').length, 0);
    out.push(el('h3', {}, 'Cluster ' + (index + 1) + ': ' + bytes(cluster.size) + ', ' + pages.length + ' of ' + cluster.pages.length
      + ' pages in use, ' + used + ' chunks used, ' + (chunks - used) + ' free' + (cluster.kept_back ? ', kept back' : '')));
    out.push(el('div', {class: 'cluster'}, ...cluster.pages.map(drawPage)));
  });
  if (map.more_blocks) out.push(el('p', {class: 'hint'}, 'and ' + count(map.more_blocks) + ' more, ' + bytes(map.more_block_bytes)));
  if (map.large.length) {
    out.push(el('h3', {}, count(map.large.length + map.more_large) + ' large objects'));
    out.push(el('ul', {class: 'sizes'}, ...map.large.map(size => el('li', {}, bytes(size)))));
    if (map.more_large) out.push(el('p', {class: 'hint'}, 'and ' + count(map.more_large) + ' more, ' + bytes(map.more_large_bytes)));
  }
  if (!out.length) out.push(el('p', {class: 'hint'}, 'It holds no block.'));
  return out;
};

const blocks = (closed) => {
  const panel = $('blocks');
  let pool = null, drawn = '', from = null;
  $('blocks-legend').replaceChildren(...PARTS.map(([part, name]) => el('li', {}, el('span', {class: 'key p-' + part}), name)));
  const close = () => {
    // Back to what opened it, or to where the keyboard would begin in the treemap.
    const focused = panel.contains(document.activeElement);
    pool = null; panel.hidden = true; closed();
    if (focused) (from?.isConnected ? from : $('treemap').querySelector('[tabindex="0"]'))?.focus();
  };
  $('blocks-close').addEventListener('click', close);
  panel.addEventListener('keydown', event => { if (event.key === 'Escape') close(); });
  /** Whose it is; what was told last stays, when it is told no more. */
  const tell = row => { put($('blocks-who'), 'text', whose(row)); $('blocks-who').hidden = !whose(row); };
  return {
    /** What a look says of it. */
    tell(look) {
      const row = pool && look.pools.find(row => row.id === pool.id);
      if (row?.id) tell(row);
    },
    close() { if (!panel.hidden) close(); },
    open(row) {
      pool = row; drawn = '';
      if (!panel.contains(document.activeElement)) from = document.activeElement;
      put($('blocks-title'), 'text', 'Blocks of ' + label(row.path, row.numbers).slice(1).join(' › '));
      tell(row);
      put($('blocks-facts'), 'text', row.id ? 'Asking.' : 'The view was not shown the pools of this account: only what it holds is known.');
      $('blocks-map').replaceChildren();
      panel.hidden = false;
      panel.focus({preventScroll: true});
      panel.scrollIntoView({block: 'nearest'});
    },
    /** Asks for its blocks again; the thread that owns it answers when it has a moment. */
    async refresh(ask) {
      if (!pool || !pool.id) return;
      const asked = pool, response = await ask('pools.json?pool=' + encodeURIComponent(asked.id));
      if (pool !== asked) return;
      if (response.status === 404) { put($('blocks-facts'), 'text', 'It is gone.' + (drawn ? ' These were its blocks.' : '')); pool = null; return; }
      if (!response.ok) { if (!drawn) put($('blocks-facts'), 'text', 'Its thread has no time now. Asking again.'); return; }
      const map = await response.json(), text = JSON.stringify(map);
      if (text === drawn || pool !== asked) return;
      drawn = text;
      put($('blocks-facts'), 'text', asked.kind + ' “' + asked.name + '”, made at ' + asked.created_at + ', '
        + count(map.blocks.length + map.clusters.length + map.more_blocks) + ' blocks, '
        + count(map.large.length + map.more_large) + ' large, ' + count(map.cleanups) + ' cleanups, '
        + bytes(map.bookkeeping_bytes) + ' of bookkeeping beside them'
        + (asked.handles == null ? '' : '; held by ' + count(asked.handles) + (asked.handles === 1 ? ' handle' : ' handles')));
      $('blocks-map').replaceChildren(...drawMap(map));
    },
  };
};
