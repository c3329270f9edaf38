
// What was held, on a server that keeps a history: fifteen minutes by the second, a day by the minute. A click
// chooses a moment of it, and with Shift one to compare with.

const timeline = (element, ranges, choice, known, pick, changed) => {
  // What an address asks for waits for what is known.
  let step = 0, path = '', plot = null, marks = [], asked = null;
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** The figures of a step, in the order of the lines; none where there was nothing, nor between moments that lie apart. */
  const figures = () => {
    const shown = known.steps[step], {now, accounts} = shown, held = of => accounts.find(row => key(row.path) === of)?.held_bytes ?? [];
    const gap = now.map((_, i) => isGap(shown, i));
    const spread = (values, between) => now.flatMap((_, i) => gap[i] ? [between(i), values[i] ?? null] : [values[i] ?? null]);
    const none = () => null;
    return [spread(now, i => (now[i - 1] + now[i]) / 2), ...[shown.resident_bytes, held(root()), shown.block_cache_bytes, ...path ? [held(path)] : []].map(values => spread(values, none))];
  };
  const root = () => known.steps.flatMap(one => one.accounts).find(row => row.path.length === 1)?.path.join('\n');

  const line = (label, name, rest = {}) => ({
    label, stroke: color(name), width: 1.5, spanGaps: false, points: {show: false},
    value: (_, value) => bytes(value), ...rest,
  });

  /** Where requests were refused, a mark at the bottom. */
  const refusals = plot => {
    const {now, requests_refused: refused} = known.steps[step], {ctx, bbox} = plot;
    ctx.fillStyle = color('--bad');
    now.forEach((moment, i) => {
      if (i > 0 && refused[i] > refused[i - 1]) {
        const x = plot.valToPos(moment, 'x', true);
        if (x >= bbox.left && x <= bbox.left + bbox.width) ctx.fillRect(x - 1, bbox.top + bbox.height - 8, 3, 8);
      }
    });
  };

  /** Moments and times of which there is something to say, over the chart. */
  const place = plot => {
    const layer = plot.over.querySelector('.marks'), width = plot.over.clientWidth;
    layer?.replaceChildren(...[...known.marks(known.steps[step]), ...marks].flatMap(({at, to, kind, text}) => {
      const x = plot.valToPos(at, 'x'), end = to ? plot.valToPos(to, 'x') : x;
      if (!(end >= -1 && x <= width + 1)) return [];
      // A word that does not fit in a gap is left out.
      const mark = el('div', {class: 'mark ' + kind + (x > width / 2 ? ' late' : '')}, to && end - x < 90 ? null : el('span', {}, text));
      Object.assign(mark.style, {left: x + 'px', width: to ? end - x + 'px' : null});
      return [mark];
    }));
  };

  const draw = () => {
    plot?.destroy();
    const axis = {stroke: color('--dim'), grid: {stroke: color('--line'), width: 1}, ticks: {stroke: color('--line'), width: 1}};
    const series = [{label: 'Time', value: (_, at) => at === null ? '–' : moment(at)},
      line('Resident', '--c3'), line('In pools', '--c1', {fill: color('--c1') + '22'}), line('Cached', '--c0')];
    if (path) series.push(line(path.split('\n').join('/'), '--ink', {dash: [6, 3]}));
    plot = new uPlot({
      width: element.clientWidth, height: 220, series,
      axes: [axis, {...axis, size: 76, incrs: Array.from({length: 50}, (_, i) => 2 ** i), values: (_, values) => values.map(bytes)}],
      scales: {y: {range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1]}},
      cursor: {drag: {x: true, y: false}},
      hooks: {draw: [refusals, place], setScale: [(_, name) => { if (name === 'x' && plot) changed(); }]},
    }, figures(), element);
    plot.over.append(el('div', {class: 'marks', 'aria-hidden': 'true'}));
    listen(plot);
    tell();
  };

  /** A click chooses; the end of a drag is none, and of two that look at all again the first is taken back. */
  const listen = plot => {
    let from = 0;
    plot.over.addEventListener('mousedown', event => { from = event.clientX; });
    plot.over.addEventListener('click', event => {
      if (event.detail > 1 || Math.abs(event.clientX - from) > 3) return;
      // In the middle of a gap it is the moment before.
      pick[event.shiftKey ? 'since' : 'at'](plot.data[0][plot.posToIdx(event.clientX - plot.over.getBoundingClientRect().left)]);
    });
    plot.over.addEventListener('dblclick', pick.undo);
  };

  /** The place among the moments of one that is marked; the newest, if none is. */
  const chosen = kind => {
    const {now} = known.steps[step], at = marks.find(mark => mark.kind === kind)?.at ?? Infinity;
    return Math.max(0, now.findLastIndex(moment => moment <= at));
  };
  element.addEventListener('keydown', event => {
    const by = {ArrowLeft: -1, ArrowRight: 1, PageUp: 60, PageDown: -60, Home: -Infinity, End: Infinity}[event.key];
    const now = known.steps?.[step].now;
    if (!by || !now?.length) return;
    event.preventDefault();
    const kind = event.shiftKey ? 'since' : 'at', next = Math.max(0, chosen(kind) + by);
    // What comes after the newest is now.
    if (kind === 'at' && next >= now.length - 1) pick.now();
    else pick[kind](now[Math.min(next, now.length - 1)]);
  });

  const tell = () => {
    const {now, resident_bytes, accounts} = known.steps[step], i = chosen('at'), held = accounts.find(row => key(row.path) === root())?.held_bytes ?? [];
    const all = known.marks(known.steps[step]), gaps = all.filter(mark => mark.kind === 'gap').length;
    put(element, 'aria-label', now.length + ' moments, of the last ' + duration(now.at(-1) - now[0])
      + ': in pools now ' + bytes(held.at(-1)) + ', resident ' + bytes(resident_bytes.at(-1))
      + all.filter(mark => mark.kind === 'start').map(mark => '; ' + mark.text).join('')
      + (gaps ? '; ' + gaps + (gaps === 1 ? ' time' : ' times') + ' of which nothing is kept' : ''));
    put(element, 'aria-valuemax', now.length - 1);
    put(element, 'aria-valuenow', i);
    put(element, 'aria-valuetext', moment(now[i]) + ', in pools ' + bytes(held[i]));
  };

  /** Whether all is shown, and not a part that was looked at closer. */
  const isWhole = () => !plot || plot.scales.x.min <= plot.data[0][0] && plot.scales.x.max >= plot.data[0].at(-1);
  /** Shows new figures; where a part is looked at closer, in that part. */
  const renew = all => {
    if (!plot) return draw();
    plot.setData(figures(), all);
    if (!all) plot.redraw();
    tell();
  };

  const choose = () => {
    const paths = [...new Map(known.steps.flatMap(one => one.accounts).map(row => [key(row.path), row.path])).values()];
    const shown = [...choice.options].map(option => option.value).join('\n\n');
    if (shown === ['', ...paths.slice(1).map(key)].join('\n\n')) return;
    choice.replaceChildren(el('option', {value: ''}, 'none'), ...paths.slice(1).map(path => el('option', {value: key(path)}, path.slice(1).join('/'))));
    choice.value = path;
  };

  const mark = () => [...ranges.children].forEach((button, i) => put(button, 'aria-pressed', String(i === step)));

  [...ranges.children].forEach((button, i) => button.addEventListener('click', () => {
    step = i;
    if (known.steps?.[step].now.length) { mark(); draw(); changed(); }
  }));
  choice.addEventListener('change', () => { path = choice.value; if (known.steps) draw(); changed(); });
  new ResizeObserver(() => { if (plot && plot.width !== element.clientWidth) plot.setSize({width: element.clientWidth, height: 220}); }).observe(element);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { if (plot) draw(); });

  /** Does what an address asked for; what is not kept of it. */
  const obey = () => {
    const {range, account, from, to} = asked;
    asked = null;
    const has = ({now}) => now.length > 0 && (!to || now[0] <= to && now.at(-1) >= from);
    const wanted = range === 'day' ? 1 : 0, found = has(known.steps[wanted]) ? wanted : known.steps.findIndex(has);
    step = Math.max(0, found);
    path = known.steps.flatMap(one => one.accounts).map(row => key(row.path)).find(path => path.split('\n').join('/') === account) ?? '';
    mark();
    choose();
    choice.value = path;
    draw();
    if (to && found >= 0) plot.setScale('x', {min: from, max: to});
    return to && found < 0 ? 'Nothing is kept of the time from ' + moment(from) + ' to ' + moment(to) + ', which the address names.' : '';
  };

  return {
    /** What is known has become more; what is not kept of what an address asked for, if anything. */
    draw() {
      element.parentElement.hidden = !known.steps[0].now.length;
      if (asked && known.steps[0].now.length) return obey();
      if (known.steps[step].now.length) { choose(); renew(isWhole()); }
      return '';
    },
    /** What part of what is shown, for the address; and back. */
    state() {
      if (asked) return asked;
      const part = plot && !isWhole() ? {from: plot.scales.x.min?.toFixed(3), to: plot.scales.x.max?.toFixed(3)} : {};
      return {range: step ? 'day' : '', account: path.split('\n').join('/'), ...part};
    },
    restore({range, account, from, to}) { asked = {range, account, from: Number(from) || 0, to: Number(to) || 0}; },
    /** The moments to be marked. */
    mark(list) {
      marks = list;
      if (plot) { place(plot); tell(); }
    },
  };
};
